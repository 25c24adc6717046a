"""The options that every ``dyc bench`` command has, and the checks that come before any time is spent."""

import argparse
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import torch

from dyc.benchmark import check_runs, runnable
from lightning_modules.cli.arguments import Parser, check_new_file, one_of, positive, whole
from ops import ArgumentError, backends

PLOTS = (".png", ".svg")


def common(
    what: str, description: str, *, seconds: float, dtypes: Iterable[str]
) -> tuple[Parser, argparse._ArgumentGroup]:
    """Return a parser with the options that all commands have, and its group for what is compared."""
    parser = Parser(prog=f"dyc bench {what}", description=description)
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
        help=f"seconds per comparison, shared by all contestants (default: {seconds:g}; always at least 5 rounds)",
    )
    output = parser.add_argument_group("output (existing files are never overwritten)")
    output.add_argument(
        "--csv", type=Path, metavar="FILE", help="write every timing, with machine, versions and command"
    )
    output.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios as a .png or .svg")
    output.add_argument(
        "--markdown", action="store_true", help="print nothing but a Markdown table with machine and command"
    )
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
        raise ArgumentError("--plot", repr(str(options.plot)), "a file other than that of --csv")
    if options.plot is not None and find_spec("matplotlib") is None:
        raise ArgumentError("--plot", sentence="matplotlib is not installed; run: pip install matplotlib")
    if options.threads is not None:
        torch.set_num_threads(options.threads)


def add_backends(group: argparse._ArgumentGroup, default: str) -> None:
    """Add ``--backends``."""
    names = [status.name for status in backends()]
    group.add_argument(
        "--backends",
        nargs="+",
        metavar="NAME",
        type=one_of(["all", "auto", *names]),
        default=[default],
        help=f"{', '.join(names)}, auto (the library's choice) or all (those that can run here) (default: {default})",
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
