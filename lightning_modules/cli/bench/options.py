"""The options that every ``dyc bench`` command has, and the checks that come before any time is spent."""

import argparse
import math
import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import torch

from dyc.benchmark.operators import check_runs, runnable
from ops import ArgumentError, backends, unknown_name

PLOTS = (".png", ".svg")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of ``dyc`` are."""

    def error(self, message: str):
        """Raise :class:`ops.ArgumentError`."""
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
            error = unknown_name("", text, names, listing=listing)
            raise argparse.ArgumentTypeError(str(error).removeprefix(": "))
        return text

    return check


def common(
    what: str, description: str, *, seconds: float, dtypes: Iterable[str]
) -> tuple[Parser, argparse._ArgumentGroup]:
    """Return a parser with the options that all commands have, and its group for what is compared."""
    parser = Parser(prog=f"dyc bench {what}", description=description, allow_abbrev=False)
    chosen = parser.add_argument_group("what is compared")
    where = parser.add_argument_group("where and how long")
    where.add_argument("--device", type=one_of(["cpu", "cuda"]), default="cpu", help="cpu (default) or cuda")
    where.add_argument(
        "--dtype", type=one_of(dtypes), default="float32", help=f"{', '.join(dtypes)} (default: float32)"
    )
    where.add_argument("--threads", type=whole, metavar="N", help="CPU threads (default: PyTorch's own choice)")
    where.add_argument(
        "--seconds",
        type=positive,
        default=seconds,
        help=f"time for each comparison, all contestants together (default: {seconds:g}; at least 5 rounds)",
    )
    output = parser.add_argument_group("output; a file that exists is never overwritten")
    output.add_argument("--csv", type=Path, metavar="FILE", help="every timing, with machine, versions and command")
    output.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the ratios, .png or .svg")
    output.add_argument("--markdown", action="store_true", help="print a Markdown table, and nothing else")
    return parser, chosen


def check_common(options: argparse.Namespace) -> None:
    """Check device and files, and set the number of threads."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("--device", "'cuda', but PyTorch finds no GPU", "cpu, or a machine with a CUDA GPU")
    check_new_file("--csv", options.csv)
    check_new_file("--plot", options.plot)
    if options.plot is not None and options.plot.suffix not in PLOTS:
        raise ArgumentError("--plot", repr(str(options.plot)), f"a file name that ends with {' or '.join(PLOTS)}")
    if options.plot is not None and options.plot == options.csv:
        raise ArgumentError("--plot", repr(str(options.plot)), "another file than --csv")
    if options.plot is not None and find_spec("matplotlib") is None:
        raise ArgumentError("--plot", "an environment without matplotlib", "it: pip install matplotlib")
    if options.threads is not None:
        torch.set_num_threads(options.threads)


def check_new_file(argument: str, path: Path | None) -> None:
    """Raise unless a file can be made at the path."""
    if path is None:
        return
    if path.exists():
        raise ArgumentError(argument, repr(str(path)), "a file that does not exist yet")
    if not path.parent.is_dir():
        raise ArgumentError(argument, f"{str(path)!r}, whose folder does not exist", "a file in a folder that exists")
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(argument, f"{str(path)!r}, whose folder is read-only", "a file in a folder of yours")


def add_backends(group: argparse._ArgumentGroup, default: str) -> None:
    """Add ``--backends``."""
    names = [status.name for status in backends()]
    group.add_argument(
        "--backends",
        nargs="+",
        metavar="NAME",
        type=one_of(["all", "auto", *names]),
        default=[default],
        help=f"{', '.join(names)}, auto (the library's choice), or all that can run here (default: {default})",
    )


def chosen_backends(options: argparse.Namespace, **window: int) -> tuple[str, ...]:
    """Return the backends of ``--backends``, every one able to run; compiles what is compiled at first use.

    Args:
        options: What was asked for.
        window: ``kernel`` and ``dilation``, if not 3 and 1.
    """
    dtype = getattr(torch, options.dtype)
    named = dict.fromkeys(options.backends)
    for name in named:
        if name != "all":
            check_runs(name, options.device, dtype, **window)
    if "all" in named:
        named |= dict.fromkeys(runnable(options.device, dtype, **window))
    return tuple(name for name in named if name != "all")
