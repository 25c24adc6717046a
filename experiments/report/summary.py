"""What the report begins with and what stands at the end of each paper: how much is measured, and by what trainings."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from experiments.papers.catalog import find
from experiments.papers.entries import Paper, Table
from experiments.report.cells import Cell, Grid
from experiments.report.claims import FAILS, HOLDS, OPEN, Verdict
from experiments.report.measured import All, Measured
from experiments.report.numbers import plain, three_figures
from experiments.report.results import measured_of

LEFT = ("table", "what it shows")


def overview(papers: Sequence[Paper], found: All) -> Grid:
    """Return how many figures of each table are measured."""
    titles = ("table", "what it shows", "figures", "measured", "only quick", "not measured", "cannot be measured here")
    rows = []
    for table in (table for paper in papers for table in paper.tables.values()):
        counts = _counts(table, found)
        numbers = [counts[name] for name in ("all", "measured", "quick", "open", "none")]
        link = f"#{anchor(table.path)}"
        cells = [Cell(f"{n}", value=n, quick=title == "only quick" and n > 0) for n, title in zip(numbers, titles[2:])]
        rows.append([Cell(table.path, link=link), Cell(table.title), *cells])
    return Grid(titles, rows, LEFT)


def anchor(path: str) -> str:
    """Return the name of a table's place on the page."""
    return path.replace("/", "-")


def _counts(table: Table, found: All) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in table.rows.values():
        for figure in row.figures.values():
            measured = measured_of(row, figure, found)
            counts["all"] += 1
            counts["measured" if measured else "none" if figure.how == "none" else "open"] += 1
            counts["quick"] += bool(measured) and all(each.quick for each in measured)
    return counts


def claims_in_short(verdicts: Iterable[Verdict]) -> str:
    """Return how many of the claims hold; of a claim that was measured in several ways, each counts."""
    counts = Counter(each.word for each in verdicts)
    words = {HOLDS: "hold", FAILS: "do not hold", OPEN: "are not decided"}
    parts = [f"{counts.pop(word, 0)} {text}" for word, text in words.items()]
    return f"Of the papers' claims, {', '.join(parts)}, and {sum(counts.values())} are not measured."


def trainings(paper: Paper, found: All) -> Grid | None:
    """Return the trainings of a paper's rows with their speed and time; None where there are none."""
    titles = (
        "row", "protocol", "seeds", "epochs", "images/s", "hours for each", "hardware", "versions", "commit",
    )  # fmt: skip
    rows = []
    for row in find(paper.name):
        if row.same_as:
            continue
        figure = next((each for each in row.figures.values() if each.how == "train"), None)
        rows += [] if figure is None else [_training(row.path, each) for each in measured_of(row, figure, found)]
    return Grid(titles, rows, ("row", "protocol", "hardware", "versions", "commit")) if rows else None


def _training(path: str, measured: Measured) -> list[Cell]:
    speeds = [float(each.images_per_second) for each in measured.records if each.images_per_second]
    times = [float(each.wall_seconds) / 3600 for each in measured.records if each.wall_seconds]
    speed, hours = (statistics.mean(each) if each else None for each in (speeds, times))
    return [
        Cell(path),
        Cell(measured.protocol),
        Cell(", ".join(each.seed for each in measured.records)),
        Cell(measured.epochs),
        Cell("" if speed is None else plain(speed, 0), value=speed),
        Cell("" if hours is None else three_figures(hours), value=hours),
        Cell(measured.hardware),
        Cell(_each(record.versions for record in measured.records)),
        Cell(_each(record.commit for record in measured.records)),
    ]


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
