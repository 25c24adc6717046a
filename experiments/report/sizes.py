"""Parameters and multiply-accumulates of rows, for the pictures of accuracy against size."""

from collections.abc import Iterator

from experiments.papers.catalog import find
from experiments.papers.entries import Figure, Row
from experiments.papers.units import scale
from experiments.report.measured import All, Measured
from experiments.report.results import measured_of

SIZES = {"parameters": "parameters", "macs": "MACs"}
"""What the sizes of a network are called, by their names in the records of its training."""

_LABELS = {"parameters": "parameters", "macs": "operations"}  # how the label of such a metric begins


def trained_size(row: Row, name: str, measured: Measured, found: All) -> float | None:
    """Return a size of the network that was trained: as recorded with the run, else that of the row.

    Args:
        row: The row.
        name: ``parameters`` or ``macs``.
        measured: The training.
        found: All measurements.
    """
    for each in found.get((row.measured_as, name), []):
        if each.how == measured.how:
            return each.mean
    changed = measured.quick and row.quick.arguments
    return None if changed else size(row, name, found)


def size(row: Row, name: str, found: All) -> float | None:
    """Return a size of a row's network: as counted, else as printed, of this row or one with the same network."""
    figures = [(each, figure) for each in _alike(row) for figure in each.figures.values() if _is(figure, name)]
    for each, figure in figures:
        for measured in measured_of(each, figure, found):
            return measured.mean * scale(figure)
    return next((float(figure.value) * scale(figure) for _, figure in figures if figure.value), None)


def _is(figure: Figure, name: str) -> bool:
    return figure.kind.how == "count" and figure.kind.label.startswith(_LABELS[name])


def _alike(row: Row) -> Iterator[Row]:
    yield row
    for each in find(row.path.partition("/")[0]):
        if (
            each is not row
            and row.network is not None
            and (each.network, each.arguments, each.segmentation) == (row.network, row.arguments, row.segmentation)
        ):
            yield each
