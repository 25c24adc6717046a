"""Ours against the printed figure, and whether the difference lies within the spread."""

import math
from dataclasses import dataclass

from experiments.papers.entries import Figure
from experiments.report.measured import Measured
from experiments.report.numbers import decimals, points, signed

WITHIN, BETTER, OUTSIDE, UNKNOWN = "within", "better", "outside", "unknown"

RULES = (
    "Accuracies and errors: ours is the mean over the seeds ± their sample standard deviation. A gap lies within the "
    "spread if it is no larger than our deviation and the printed one together; most papers print none. One seed has "
    "no spread, so that only a printed deviation can tell.",
    "Parameters and operations are exact: they are as printed, or they differ, after rounding to the digits that are "
    "printed.",
    "Times of other machines are not comparable. What is compared is the ratio to the static network or layer that was "
    "timed in turn with it, for images of one size.",
    "Quick numbers are trained by a shortened recipe, which the remarks describe. They are never averaged with full "
    "ones, and a gap to the paper says as much about the recipe as about the network: compare them with each other.",
    "Seeds are averaged only within one protocol, one kind of processor and one number of epochs.",
)
"""How to read the report, a sentence or two for each kind of figure."""


@dataclass(frozen=True)
class Gap:
    """A difference between ours and what is printed.

    Args:
        text: The difference.
        reading: What it means, in words.
        kind: :data:`WITHIN`, :data:`BETTER` (outside the spread), :data:`OUTSIDE` or :data:`UNKNOWN`.
        value: For sorting.
    """

    text: str
    reading: str
    kind: str
    value: float


def gap_of(figure: Figure, measured: Measured) -> Gap | None:
    """Return ours minus the printed figure; None where none is printed, and for times, which depend on the machine."""
    if not figure.value or figure.how == "latency":
        return None
    printed = float(figure.value)
    difference = measured.mean - printed
    if figure.kind.how == "train":
        return _accuracy(figure, measured, difference)
    if figure.kind.how == "follows" and figure.unit == "pp":
        return Gap(f"{signed(difference, 2)} pp", "no spread", UNKNOWN, difference)
    share = difference / printed
    text = f"{signed(100 * share, 2)} %"
    if figure.kind.how == "follows":
        return Gap(text, "no spread", UNKNOWN, share)
    if text == "0.00 %" and figure.unit in ("count", "MACs", "ops"):
        text = signed(difference, decimals(figure.value))
    agrees = abs(difference) <= 0.5000001 * 10 ** -decimals(figure.value)
    return Gap(text, "as printed" if agrees else "differs", WITHIN if agrees else OUTSIDE, share)


def _accuracy(figure: Figure, measured: Measured, difference: float) -> Gap:
    text, value = f"{signed(points(figure) * difference, 2)} pp", points(figure) * difference
    spreads = [measured.deviation, None if figure.spread is None else float(figure.spread)]
    known = [each for each in spreads if each is not None and math.isfinite(each)]
    if not known:
        return Gap(text, "one seed, no spread", UNKNOWN, value)
    if abs(difference) <= sum(known):
        return Gap(text, "within the spread", WITHIN, value)
    better = (difference < 0) == figure.kind.smaller_is_better
    if better:
        return Gap(text, "better, outside the spread", BETTER, value)
    return Gap(text, "worse, outside the spread", OUTSIDE, value)
