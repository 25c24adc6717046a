"""Command-line arguments: a parser whose errors are one line, types of values, and the check of a file to write."""

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

# ``ops`` is imported where an error is made: it brings PyTorch along, which takes seconds that --help need not wait.


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of ``dyc`` are."""

    def error(self, message: str):
        """Raise :class:`ops.ArgumentError`."""
        from ops import ArgumentError

        raise ArgumentError(message.removeprefix("argument "))


def whole(text: str) -> int:
    """Return an int of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; need an int, at least 1")
    return int(text)


def whole_or_zero(text: str) -> int:
    """Return an int of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; need an int, at least 0")
    return int(text)


def odd(text: str) -> int:
    """Return an odd int of at least 1."""
    if not text.isdecimal() or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; need an odd int, at least 1")
    return int(text)


def positive(text: str) -> float:
    """Return a positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}; need a positive number")
    return value


def share(text: str) -> float:
    """Return a number of at least 0, below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; need a share in [0, 1)")
    return value


def one_of(names: Iterable[str], listing: str | None = None) -> Callable[[str], str]:
    """Return a check for one of the names; its error suggests the closest ones."""
    names = list(names)

    def check(text: str) -> str:
        if text not in names:
            from ops import unknown_name

            error = unknown_name("", text, names, listing=listing)
            raise argparse.ArgumentTypeError(str(error).removeprefix(": "))
        return text

    return check


def check_new_file(argument: str, path: Path | None) -> None:
    """Raise unless a file can be made at the path."""
    if path is None:
        return
    from ops import ArgumentError

    if path.exists():
        raise ArgumentError(argument, repr(str(path)), "a file that does not exist yet")
    if not path.parent.is_dir():
        raise ArgumentError(argument, f"{str(path)!r}, whose folder does not exist", "a file in a folder that exists")
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(argument, f"{str(path)!r}, whose folder is read-only", "a file in a folder of yours")
