"""The tables of the report, as cells that Markdown and HTML write in their own ways."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.papers.entries import Figure, Row, Table
from experiments.report.gaps import gap_of
from experiments.report.measured import All, Measured
from experiments.report.numbers import digits_of, plain, three_figures
from experiments.report.results import measured_of, ratios

NOT_MEASURED, NOT_PRINTED = "not measured", "not printed"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: What it says.
        small: What it says in smaller letters behind that.
        quick: Whether a number in it is that of the quick protocol.
        kind: How it is coloured: ``within``, ``better``, ``outside``, ``unknown``, ``none``; empty as the text around.
        value: What it is sorted by, if not its text.
        link: Where it leads to, on the page.
    """

    text: str = ""
    small: str = ""
    quick: bool = False
    kind: str = ""
    value: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        titles: Of the columns.
        rows: Cells; the first of a row names it.
        left: Titles of the columns that are aligned to the left.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: Sequence[str] = ()


TITLES = (
    "network", "figure", "published", "ours", "published, x static", "ours, x static", "gap", "reading", "seeds",
    "protocol", "data set", "hardware", "remarks",
)  # fmt: skip
LEFT = ("network", "figure", "reading", "protocol", "data set", "hardware", "remarks")


def table_grid(table: Table, found: All) -> Grid:
    """Return a table of a paper: a line for each figure and each way in which it was measured; no empty columns."""
    lines = [
        _line(table, row, figure, measured, found)
        for row in table.rows.values()
        for figure in row.figures.values()
        for measured in measured_of(row, figure, found) or [None]
    ]
    kept = [i for i, title in enumerate(TITLES) if title == "ours" or any(line[i].text for line in lines)]
    return Grid([TITLES[i] for i in kept], [[line[i] for i in kept] for line in lines], LEFT)


def _line(table: Table, row: Row, figure: Figure, measured: Measured | None, found: All) -> list[Cell]:
    gap = None if measured is None else gap_of(figure, measured)
    quick = measured is not None and measured.quick
    printed, ours = ratios(row, figure, table, measured, found) if figure.kind.how == "latency" else ("", "")
    return [
        Cell(figure.model or row.model, row.name),
        Cell(figure.kind.label, figure.unit),
        published_cell(figure),
        _ours(figure, measured),
        Cell(printed, value=_number(printed)),
        Cell(ours, value=_number(ours)),
        Cell() if gap is None else Cell(gap.text, quick=quick, kind=gap.kind, value=gap.value),
        Cell() if gap is None else Cell(gap.reading, kind=gap.kind),
        Cell(str(measured.seeds), value=measured.seeds) if measured is not None and measured.seeds else Cell(),
        Cell() if measured is None else Cell(_protocol(measured)),
        Cell(figure.dataset or row.dataset),
        Cell() if measured is None else Cell(measured.hardware),
        Cell("; ".join(_remarks(row, figure, measured))),
    ]


def published_cell(figure: Figure) -> Cell:
    """Return what is printed."""
    if not figure.value:
        return Cell(NOT_PRINTED, kind="none")
    spread = "" if figure.spread is None else f" ± {figure.spread}"
    digits = len(figure.value.partition(".")[2])
    status = "" if figure.status == "published" else figure.status
    return Cell(plain(float(figure.value), digits) + spread, status, value=float(figure.value))


def _ours(figure: Figure, measured: Measured | None) -> Cell:
    if measured is None:
        return Cell(NOT_MEASURED, kind="none")
    return Cell(value_text(figure, measured), quick=measured.quick, value=measured.mean)


def value_text(figure: Figure, measured: Measured) -> str:
    """Return what was measured, with its deviation."""
    if figure.kind.how in ("latency", "follows"):
        return three_figures(measured.mean)
    digits = digits_of(figure)
    spread = "" if measured.deviation is None else f" ± {measured.deviation:.{digits}f}"
    return plain(measured.mean, digits) + spread


def _protocol(measured: Measured) -> str:
    return f"{measured.protocol}, {measured.epochs} epochs" if measured.epochs else measured.protocol


def _number(text: str) -> float | None:
    return float(text) if text else None


def _remarks(row: Row, figure: Figure, measured: Measured | None) -> list[str]:
    found = [figure.reason, row.note, figure.note]
    if measured is not None and measured.quick and row.quick.note:
        found.append(f"quick: {row.quick.note}")
    return [each for each in dict.fromkeys(found) if each]
