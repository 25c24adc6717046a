"""``dyc report``: the papers' figures and claims beside what was measured."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.report.parser import report_parser

MARK = "<!-- written by dyc report -->"
"""What a report has near its beginning, so that it may be replaced."""

PRINTED = Path("-")


def main(argv: Sequence[str]) -> None:
    """Run ``dyc report ...``; ``argv`` starts with the command's name."""
    options = report_parser().parse_args(argv[1:])
    html, text = options.html, options.markdown
    if html is None and text is None:
        html, text = Path("report.html"), Path("report.md")

    from experiments import curves
    from experiments.papers import papers
    from experiments.records import read_all
    from ops import unknown_name

    for name in options.papers:
        if name not in papers():
            raise unknown_name("PAPER", name, papers())
    for option, path in (("--html", html), ("--markdown", text)):
        if path not in (None, PRINTED):
            _check(option, path)
    chosen = [papers()[name] for name in dict.fromkeys(options.papers)] or list(papers().values())
    results = _results(options.results)
    records = list(read_all(results))
    epochs = {paper.name: curves.read(paper.name, results) for paper in chosen}

    from experiments.report import markdown, page
    from experiments.report.content import content

    report = content(chosen, records, epochs, results, draw=html is not None)
    if html is not None:
        _write("--html", html, page.write(report, MARK))
    if text == PRINTED:
        print(markdown.write(report, MARK), end="")
    elif text is not None:
        _write("--markdown", text, markdown.write(report, MARK))
    for path in (html, text):
        if path not in (None, PRINTED):
            print(f"report: {path}", file=sys.stderr if text == PRINTED else sys.stdout)


def names() -> list[str]:
    """Return what a shell offers to complete: the papers."""
    from experiments.papers import papers

    return list(papers())


def _results(given: Path | None) -> Path:
    from experiments import RESULTS
    from ops import ArgumentError

    if given is not None:
        if not given.is_dir():
            raise ArgumentError("--results", repr(str(given)), "a folder of records")
        return given
    return RESULTS if RESULTS.is_dir() else Path(__file__).parents[1] / "results" / "papers"


def _check(option: str, path: Path) -> None:
    """Raise unless a report can be written there: a new file, or in place of an older report."""
    from lightning_modules.cli.arguments import check_new_file
    from ops import ArgumentError

    if not path.is_file():
        check_new_file(option, path)
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        if MARK not in file.read(200):
            raise ArgumentError(option, f"{str(path)!r}, which is no report", "a new file, or a report to replace")


def _write(option: str, path: Path, text: str) -> None:
    from lightning_modules.disk import NO_SPACE, disk_error
    from lightning_modules.whole_files import written_whole
    from ops import ArgumentError

    try:
        with written_whole(path) as file:  # the older report is kept until the newer one is written
            file.write(text.encode())
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ArgumentError(option, sentence=disk_error(error)) from error
        raise ArgumentError(option, f"{str(path)!r} ({error.strerror})", "a file that can be written") from error
