"""The arguments of ``dyc compare``, apart from its work, so that ``--help`` comes at once."""

import argparse
from pathlib import Path

from lightning_modules.cli.arguments import Parser, add_runs, ending

EPILOG = """examples:
  dyc compare quickstart
  dyc compare 'papers/dyc/table1/*' --plot table1.png --html table1.html
  dyc compare cifar10/static cifar10/dyc --metric val/top1
  dyc compare 'cifar10/*' --by model --by optimizer.lr
  dyc compare --wandb ENTITY/PROJECT --group cifar10/dyc
"""


def compare_parser() -> Parser:
    """Return the parser of ``dyc compare``."""
    result = Parser(
        prog="dyc compare",
        description="Compare training runs: runs that differ only in the seed are one row, with mean and standard "
        "deviation; below the table stands what differs between the rows.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = result.add_argument_group("what is compared")
    chosen.add_argument(
        "names", nargs="*", metavar="RUN",
        help="names below --runs, folders of runs, or patterns with * of either; with --wandb, patterns of run names",
    )  # fmt: skip
    add_runs(chosen)
    chosen.add_argument(
        "--metric", help="what is compared (default: test/top1, the last epoch; of segmentation test/miou)"
    )
    chosen.add_argument(
        "--by", action="append", default=[], metavar="KEY",
        help="one row for each value of this setting, such as model or optimizer.lr, whatever else differs; may be "
        "repeated (default: one row for all runs that differ only in the seed)",
    )  # fmt: skip
    server = result.add_argument_group("W&B")
    server.add_argument("--wandb", metavar="ENTITY/PROJECT", help="read the runs of a project from W&B's server")
    server.add_argument("--group", metavar="NAME", help="only the runs of this group of W&B")
    server.add_argument("--publish", action="store_true", help="also make a report of W&B with the tables and charts")
    output = result.add_argument_group("output (existing files are never overwritten)")
    output.add_argument(
        "--plot", type=ending(".png", ".svg", ".pdf"), metavar="FILE",
        help="draw learning curves with the temperature and entropy of the attention, and accuracy against size",
    )  # fmt: skip
    output.add_argument("--csv", type=Path, metavar="FILE", help="write the table with what differs")
    output.add_argument(
        "--markdown", type=ending(".md"), nargs="?", const=Path("-"), metavar="FILE.md",
        help="write Markdown; without a file, print it instead of the table",
    )  # fmt: skip
    output.add_argument(
        "--html", type=ending(".html"), metavar="FILE", help="write one page with the table and the pictures"
    )
    return result
