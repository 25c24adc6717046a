"""The papers and ``own``, our own comparisons, with their rows by path, as in ``dyc run dyc/table1/cifar10/dyc``.

They stand in the YAML files of this folder; :mod:`experiments.papers.reading` says how those are written.
"""

from functools import cache
from pathlib import Path

from experiments.papers.entries import Paper, Row, Table
from experiments.papers.reading import read_paper
from ops import unknown_name


@cache
def papers() -> dict[str, Paper]:
    """Return every paper by name, and last what has no source: our own comparisons."""
    found = [read_paper(path) for path in sorted(Path(__file__).parent.glob("*.yaml"))]
    return {paper.name: paper for paper in sorted(found, key=lambda paper: paper.source is None)}


def find(path: str) -> list[Row]:
    """Return the rows of ``PAPER``, ``PAPER/TABLE`` or ``PAPER/TABLE/ROW``; a row's name may be cut at a ``/``.

    Raises:
        ArgumentError: There is no such paper, table or row; names the known ones, close ones first.
    """
    name, _, rest = path.strip("/").partition("/")
    if name not in papers():
        raise unknown_name("paper", name, papers())
    paper, (table, _, row) = papers()[name], rest.partition("/")
    if not table:
        return [row for each in paper.tables.values() for row in each.rows.values()]
    if table not in paper.tables:
        raise unknown_name(f"table of {name}", table, paper.tables)
    rows = paper.tables[table].rows
    found = [each for known, each in rows.items() if not row or known == row or known.startswith(f"{row}/")]
    if not found:
        raise unknown_name(f"row of {name}/{table}", row, rows)
    return found


def table_of(row: Row) -> Table:
    """Return the table that a row is in."""
    name, table, _ = row.path.split("/", 2)
    return papers()[name].tables[table]
