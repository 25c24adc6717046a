"""What was measured about a row's figures, those that follow from other rows included."""

import math
from collections.abc import Iterator
from dataclasses import replace

from experiments.papers.baselines import baseline_of, printed_ratio
from experiments.papers.catalog import find
from experiments.papers.entries import Figure, Row, Table
from experiments.report.measured import All, Measured


def measured_of(row: Row, figure: Figure, found: All) -> list[Measured]:
    """Return the measurements of a figure, none where it is not measured."""
    if figure.kind.how == "follows" and not figure.reason:
        return list(_following(figure, found))
    each = found.get((row.measured_as, figure.metric), [])
    return [measured for measured in each if measured.unit == figure.unit]


def _following(figure: Figure, found: All) -> Iterator[Measured]:
    """Yield a ratio or difference of the means of two rows, for each way in which both were measured."""
    key = "ratio" if "ratio" in figure.options else "difference"
    first, second = (_of(path, figure.options["of"], found) for path in figure.options[key])
    for one in first:
        for two in second:
            if one.how == two.how:
                value = one.mean / two.mean if key == "ratio" else one.mean - two.mean
                record = replace(one.records[0], metric=figure.metric, value=repr(value), unit=figure.unit)
                yield replace(one, metric=figure.metric, unit=figure.unit, records=(record,))


def _of(path: str, metric: str, found: All) -> list[Measured]:
    row = find(path)[0]
    return measured_of(row, row.figures[metric], found)


def ratios(row: Row, figure: Figure, table: Table, measured: Measured | None, found: All) -> tuple[str, str]:
    """Return the printed and our time over that of the static baseline, as far as they are known."""
    ours = next(
        (
            each
            for each in found.get((row.measured_as, f"{figure.metric}_ratio"), [])
            if measured is not None and each.hardware == measured.hardware
        ),
        None,
    )
    printed = printed_ratio(row, figure, table) if figure.value and baseline_of(row, table) is not None else None
    return "" if printed is None else f"{printed:.2f}", "" if ours is None else f"{ours.mean:.2f}"


def spread_of_difference(one: Measured, two: Measured) -> float | None:
    """Return the standard deviation of the difference of two seeds; None where one of them has none."""
    if one.deviation is None or two.deviation is None:
        return None
    return math.hypot(one.deviation, two.deviation)
