"""Errors that say which argument is wrong, what was got, and what is needed."""

import difflib
from collections.abc import Iterable


class ArgumentError(ValueError):
    """An argument cannot be used; the message starts with its name.

    Args:
        argument: The argument; alone, it is a finished message.
        got: What was got, for ``"ARGUMENT: got GOT; need NEED"``.
        need: What is needed.
        sentence: What is wrong and what to do, where the form above would not read well: ``"ARGUMENT: SENTENCE"``.

    Example:
        >>> print(ArgumentError("stride", 0, "an int, at least 1"))
        stride: got 0; need an int, at least 1
        >>> print(ArgumentError("bias", sentence="a shared kernel has no bias of its own; leave it out"))
        bias: a shared kernel has no bias of its own; leave it out
    """

    def __init__(
        self, argument: str, got: object = None, need: str | None = None, *, sentence: str | None = None
    ) -> None:
        self.argument = argument
        if need is not None:
            sentence = f"got {got}; need {need}"
        # With one argument it is a finished message: pickle and data-loading workers rebuild exceptions that way.
        super().__init__(argument if sentence is None else f"{argument}: {sentence}")


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
