"""The arguments of ``dyc report``, apart from its work, so that ``--help`` comes at once."""

import argparse
from pathlib import Path

from lightning_modules.cli.arguments import Parser, ending


def report_parser() -> Parser:
    """Return the parser of ``dyc report``."""
    result = Parser(
        prog="dyc report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the papers' figures and claims beside what dyc run measured: as one page of HTML that\n"
        "needs no network, and as Markdown. Without --html and --markdown, report.html and report.md are written into\n"
        "the current folder. A report is replaced by a newer one; other files are never overwritten.",
        epilog="examples:\n  dyc report\n  dyc report dyc eam --html report.html\n  dyc report dyc --markdown",
    )
    result.add_argument("papers", nargs="*", metavar="PAPER", help="what to report (default: every paper)")
    result.add_argument(
        "--results", type=Path, metavar="DIR",
        help="folder of the records (default: experiments/results/papers, or the records that come with the package)",
    )  # fmt: skip
    result.add_argument("--html", type=ending(".html"), metavar="FILE.html", help="write the page")
    result.add_argument(
        "--markdown", type=ending(".md"), nargs="?", const=Path("-"), metavar="FILE.md",
        help="write Markdown; without a file, print it",
    )  # fmt: skip
    return result
