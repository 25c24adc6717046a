"""The comparison as one page of HTML that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from experiments.compare.groups import Group, Summary
from experiments.compare.plots import COLOURS, colour, page_pictures
from experiments.compare.table import LEFT, cells, difference_cells, explanation
from experiments.pages import render
from lightning_modules.disk import new_file


def page(
    groups: Sequence[Group],
    summaries: Sequence[Summary],
    metric: str,
    found: Mapping[str, Sequence[str]],
    notes: Sequence[str],
) -> str:
    """Return the page: table, pictures, what differs, and the runs of each group."""
    titles, rows = cells(summaries, metric)
    return render(
        "compare/page.html",
        metric=metric,
        zip=zip,
        titles=titles,
        left=LEFT,
        rows=[(colour(index), index // len(COLOURS), row) for index, row in enumerate(rows)],
        explanation=explanation(metric),
        notes=notes,
        pictures=[Markup(svg) for svg in page_pictures(groups, summaries, metric)],
        differences=difference_cells([each.name for each in summaries], found) if found else None,
        groups=groups,
    )


def write(path: Path, text: str) -> None:
    """Write the page into a new file."""
    with new_file("--html", path, encoding="utf-8") as file:
        file.write(text)
