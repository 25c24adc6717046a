"""Errors that say which argument is wrong, what was got, and what is needed."""

import difflib
from collections.abc import Iterable


class ArgumentError(ValueError):
    """An argument cannot be used; the message names it, what was got and what is needed."""

    def __init__(self, argument: str, got: object = None, need: str | None = None) -> None:
        self.argument = argument
        # With one argument it is a finished message: pickle and data-loading workers rebuild exceptions that way.
        super().__init__(argument if need is None else f"{argument}: got {got}; need {need}")


class BackendUnavailable(RuntimeError):
    """A backend that was asked for by name cannot run the call; the message lists every reason."""


def unknown_name(argument: str, got: str, known: Iterable[str], *, listing: str | None = None) -> ArgumentError:
    """Build the error for a name that is not among ``known``, suggesting the closest ones.

    Args:
        argument: The argument that held the name.
        got: The name.
        known: Every name that would have been right.
        listing: Where to read all names, for lists too long to print.
    """
    known = sorted(known)
    close: list[str] = []
    if isinstance(got, str):
        close = difflib.get_close_matches(got, known, n=3, cutoff=0.6) or [k for k in known if got and got in k][:3]
    hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
    choices = listing if listing is not None else "one of " + ", ".join(map(repr, known))
    return ArgumentError(argument, f"{got!r}{hint}", choices)
