"""Which layers a caller means: expressions and callables, checked."""

import re
from collections.abc import Callable, Iterable, Mapping

from torch import nn

from ops import ArgumentError

Where = str | Callable[[str, nn.Conv2d], bool]


def listed(names: Iterable[str]) -> str:
    """Return the first of ``names`` for an error message."""
    names = list(names)
    return ", ".join(names[:6] or ["it has none"]) + (", ..." if len(names) > 6 else "")


def chooser(
    argument: str, where: object, presets: Mapping[str, Callable[[str, nn.Conv2d], bool]], need: str
) -> Callable[[str, nn.Conv2d], bool]:
    """Return the function that tells whether a convolution is meant.

    Args:
        argument: Name of the argument, for errors.
        where: A preset, a regular expression searched in the names, or a callable.
        presets: The presets by name.
        need: What is needed, for errors.

    Raises:
        ArgumentError: ``where`` is none of these.
    """
    if callable(where):
        return where
    if not isinstance(where, str) or not where:  # an empty expression would match everything
        raise ArgumentError(argument, repr(where), need)
    if where in presets:
        return presets[where]
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ArgumentError(argument, repr(where), f"a valid regular expression ({error})") from error
    return lambda name, conv: pattern.search(name) is not None


def shown(where: object) -> str:
    """Return ``where`` as an error message shows it."""
    return getattr(where, "__name__", type(where).__name__) if callable(where) else repr(where)
