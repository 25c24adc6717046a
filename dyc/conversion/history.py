"""What was made of a timm network after it was created, noted in the network, so that a file can say it.

The notes are plain values that JSON can hold: layers by name, whatever chose them.
"""

import json
from typing import Any

from torch import nn

from ops import ArgumentError

_NOTES = "dyc_conversions"

LOST = "lost"
"""The setting that names those that no file can hold, such as a function."""


def note(model: nn.Module, kind: str, **settings: Any) -> None:
    """Note a conversion of a model, with what is needed to do it again."""
    of = _architecture(model)
    if of is not None:  # nothing can create any other model by name
        kept = {name: value for name, value in settings.items() if _plain(value)}
        if lost := [name for name in settings if name not in kept]:
            kept[LOST] = lost  # the values themselves would be in the way of pickle
        notes = [*getattr(model, _NOTES, ()), {"of": of, "kind": kind, **kept}]
        setattr(model, _NOTES, notes)  # a new list, which copies of the model do not share


def conversions(model: nn.Module) -> list[dict[str, Any]]:
    """Return what was made of a network since ``timm.create_model`` returned it, in order.

    What its own architecture makes of another network's, as ``dyc_mobilenetv2`` does, is no part of it.
    """
    of = _architecture(model)
    notes = (dict(each) for each in getattr(model, _NOTES, ()))
    return [each for each in notes if each.pop("of") == of]


def kept_conversions(model: nn.Module) -> list[dict[str, Any]]:
    """Return the conversions of a network, all of which a file can hold.

    Raises:
        ArgumentError: One was made with a function.
    """
    steps = conversions(model)
    for step in steps:
        if step.get(LOST):
            lost, kind = " and ".join(step[LOST]), step["kind"]
            sentence = f"was made {kind} with a function as {lost}, which no file holds; give it a registered name"
            raise ArgumentError("model", sentence=sentence)
    return steps


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _architecture(model: nn.Module) -> str | None:
    return (getattr(model, "pretrained_cfg", None) or {}).get("architecture")
