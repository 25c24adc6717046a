"""Reasons why layers do not fit, of many layers in few words."""

import re

from torch import nn

_SHOWN = 4
"""How many names a message gives for one kind of reason."""


def summary(reasons: dict[str, str], model: nn.Module) -> str:
    """Return one clause for each kind of reason: reasons that differ in nothing but names of modules are of one kind.

    Args:
        reasons: Reasons by name of the layer.
        model: The network whose modules they name.
    """
    modules = dict(model.named_modules())
    kinds: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        kind = re.sub(r"[\w.]+", lambda word: "*" if word[0] in modules else word[0], reason)
        kinds.setdefault(re.sub(r"\*(, \*)+", "*", kind), []).append(name)
    clauses = []
    for first, *others in kinds.values():
        clause = f"{first}: {reasons[first]}"
        if others:
            hidden = len(others) - _SHOWN + 1
            listed = ", ".join(others[: _SHOWN - 1]) + (f" and {hidden} more" if hidden > 0 else "")
            clause += f", and likewise {listed}"
        clauses.append(clause)
    if len(clauses) < len(reasons):
        clauses.append("dyc.selective.unfit gives the reason of each")
    return "; ".join(clauses)
