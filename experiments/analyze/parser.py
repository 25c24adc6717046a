"""The arguments that analyses share, apart from their work, so that ``--help`` need not wait for it."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.analyze.found import Found, analyses
from lightning_modules.cli.arguments import Parser, add_runs, one_of, whole, whole_or_zero
from lightning_modules.cli.imports import add_import
from lightning_modules.errors import ArgumentError

EPILOG = """examples:
  dyc analyze correlation runs/static runs/dyc --labels static DYC
  dyc analyze attention runs/dyc --images 2000
  dyc analyze latency mobilenetv2_100 dynet_mobilenetv2_100 --sizes 96 160 224
"""


def usage() -> str:
    """Return the text of ``dyc analyze --help``."""
    found = analyses()
    width = max(map(len, found)) + 2
    rows = "\n".join(f"  {each.name:<{width}}{each.summary}" for each in found.values())
    return (
        "usage: dyc analyze ANALYSIS CHECKPOINT_OR_MODEL... [options]      dyc analyze ANALYSIS --help\n\n"
        "Show what networks do inside: every number as CSV, every picture as SVG and PNG, in a new folder.\n\n"
        f"analyses:\n{rows}\n\n"
        "Networks are checkpoints, folders of runs, or names of timm's. Images are those of the test split of the\n"
        "checkpoint's data, or of --data.OPTION as in `dyc test --help`.\n\n"
        f"{EPILOG}"
    )


def analysis_parser(found: Found, add_options) -> Parser:
    """Return the parser of one analysis.

    Args:
        found: The analysis.
        add_options: Adds its arguments, its networks among them, to a parser.
    """
    result = Parser(
        prog=f"dyc analyze {found.name}",
        description=f"{found.summary}.",
    )
    add_options(result)
    output = result.add_argument_group("output")
    output.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"a new folder for tables and pictures (default: analyses/{found.name}/version_N)",
    )
    return result


def add_networks(parser: argparse.ArgumentParser, *, images: int | None = None, most: int | None = None) -> None:
    """Add the networks of an analysis.

    Args:
        parser: The parser.
        images: How many images are looked at by default; None for analyses that need none.
        most: The largest number of networks; by default any.
    """
    group = parser.add_argument_group("networks")
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="CHECKPOINT_OR_MODEL",
        help="a checkpoint, the folder of a run (its last checkpoint), or a name of timm's",
    )
    parser.set_defaults(most=most)
    hide = argparse.SUPPRESS
    group.add_argument("--labels", nargs="+", metavar="TEXT", default=hide, help="what pictures call the networks")
    group.add_argument("--pretrained", action="store_true", help="with timm's weights, for names of timm's")
    add_runs(group)
    group.add_argument("--device", type=one_of(("cpu", "cuda")), default="cpu", help="cpu (default) or cuda")
    add_import(group)
    if images is not None:
        data = parser.add_argument_group("images (by default those of the test split of the checkpoint's data)")
        data.add_argument(
            "--images",
            type=whole,
            default=images,
            metavar="N",
            help=f"images, spread over the split (default: {images})",
        )
        data.add_argument(
            "--seed", type=whole_or_zero, default=0, metavar="N", help="seed of their order and of draws (default: 0)"
        )
        data.add_argument(
            "--data.OPTION",
            dest="data_option",
            metavar="VALUE",
            default=hide,
            help="an option of the data, as in dyc test",
        )


@contextmanager
def named_as_options(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Call what is wrong by its option: what a function knows as ``layer`` was given as ``--layer`` or ``--layers``."""
    try:
        yield
    except ArgumentError as error:
        options = (f"--{error.argument}", f"--{error.argument}s")
        option = next((name for name in options if name in parser._option_string_actions), None)
        if option is None:
            raise
        raise ArgumentError(option, sentence=str(error).removeprefix(f"{error.argument}: ")) from error


def without_data_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command line without the options ``--data...``, and these with their values.

    Example:
        >>> without_data_options(["a.ckpt", "--data.root", "x", "--images", "9", "--data.dataset=folder"])
        (['a.ckpt', '--images', '9'], ['--data.root', 'x', '--data.dataset=folder'])
    """
    rest, data, words = [], [], iter(argv)
    for word in words:
        name, equals, _ = word.partition("=")
        if name != "--data" and not name.startswith("--data."):
            rest.append(word)
            continue
        data.append(word)
        if not equals and (value := next(words, None)) is not None:
            data.append(value)
    return rest, data
