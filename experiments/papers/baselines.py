"""The static network or layer that a row of a latency table is compared with."""

from dataclasses import replace

from experiments.papers.catalog import find
from experiments.papers.entries import Figure, Row, Table

STATIC = "static"
"""Last part of the name of a table's row without dynamic convolutions."""


def baseline_of(row: Row, table: Table) -> Row | None:
    """Return the static network or layer that a row is compared with, with images of the row's size.

    It is the one that the paper prints a speed-up over, else the static row of the table, which may be printed for
    another size alone.
    """
    for figure in row.figures.values():
        first, second = figure.options.get("ratio", ("", ""))
        if second == row.path:
            return find(first)[0]
    for each in table.rows.values():
        if each.name.endswith(f"/{STATIC}") and not row.name.endswith(f"/{STATIC}"):
            batch = {"batch_size": row.benchmark["batch_size"]}
            return replace(each, image_size=row.image_size, benchmark={**each.benchmark, **batch})
    return None


def printed_ratio(row: Row, figure: Figure, table: Table) -> float | None:
    """Return a printed time over that of the baseline, where the baseline's is printed for this size of images."""
    base = baseline_of(row, table)
    if base is None or table.rows[base.name].image_size != row.image_size:
        return None
    return float(figure.value) / float(base.figures[figure.metric].value)
