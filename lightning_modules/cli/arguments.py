"""Command-line arguments: a parser whose errors are one line, types of values, shared options, files to write."""

import argparse
import difflib
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from lightning_modules.errors import ArgumentError, unknown_name

LARGEST_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of ``dyc`` are, and that takes no option by its beginning."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str):
        """Raise :class:`ops.ArgumentError`."""
        raise ArgumentError(unrecognized(message, self) or message.removeprefix("argument "))


def unrecognized(message: str, parser: argparse.ArgumentParser | None) -> str | None:
    """Return argparse's message about an option that does not exist with those that were meant; None for others."""
    start, _, words = message.partition("unrecognized arguments: ")
    option = next((word for word in words.split() if word.startswith("-")), "").partition("=")[0]
    return None if start or not option else no_such_option(option, parser)


def no_such_option(option: str, parser: argparse.ArgumentParser | None, name: str | None = None) -> str:
    """Return the line about an option that does not exist, with those of the parser that were probably meant.

    Args:
        option: The option, with its dashes.
        parser: The parser that does not know it.
        name: What it is called where it was written; the option by default.
    """
    close = close_options(option, [key for key in (parser._option_string_actions if parser else ()) if key[:2] == "--"])
    hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else "; see --help"
    return f"{name or option}: there is no such option{hint}"


def close_options(option: str, known: Iterable[str]) -> list[str]:
    """Return the options that were probably meant: those of the same last word, then those that begin or look alike.

    Example:
        >>> close_options("--model.lr", ["--model.model", "--model.optimizer.lr", "--trainer.max_epochs"])
        ['--model.optimizer.lr']
        >>> close_options("--keep", ["--keep_below", "--seconds"])
        ['--keep_below']
    """
    known, group, last = list(known), option.partition(".")[0], option.rpartition(".")[2]
    same = [name for name in known if name.startswith(group + ".") and name.endswith("." + last)]
    longer = [name for name in known if len(option) > 3 and name.startswith(option)]
    return same[:3] or longer[:3] or difflib.get_close_matches(option, known, n=2, cutoff=0.8)


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


def seed(text: str) -> int:
    """Return a seed as PyTorch, NumPy and Lightning take it."""
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"got {text!r}; need an int from 0 to {LARGEST_SEED}")
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
            error = unknown_name("", text, names, listing=listing)
            raise argparse.ArgumentTypeError(str(error).removeprefix(": "))
        return text

    return check


def add_runs(parser: argparse._ActionsContainer) -> None:
    """Add ``--runs``, the folder of all runs."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")


def add_run(parser: argparse._ActionsContainer) -> None:
    """Add ``--name`` and ``--runs``, by which a run's checkpoints are found."""
    parser.add_argument("--name", default="run", help="name of the run (default: run)")
    add_runs(parser)


def ending(*suffixes: str) -> Callable[[str], Path]:
    """Return a check for the end of a file's name."""

    def check(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"got {text!r}; need a file name that ends with {' or '.join(suffixes)}")
        return Path(text)

    return check


def check_new_file(argument: str, path: Path | None, kind: str = "file") -> None:
    """Raise unless a file, or what ``kind`` says, can be made at the path; a folder may be there if it is empty."""
    if path is None:
        return
    if kind == "folder" and path.is_dir() and not any(path.iterdir()) and os.access(path, os.W_OK):
        return
    if path.exists():
        raise ArgumentError(argument, repr(str(path)), f"a {kind} that does not exist yet")
    if not path.parent.is_dir():
        raise ArgumentError(
            argument, f"{str(path)!r}, whose folder does not exist", f"a {kind} in a folder that exists"
        )
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(argument, f"{str(path)!r}, whose folder is read-only", f"a {kind} in a folder of yours")
