"""Measured values in the units that papers print."""

from experiments.papers.entries import Figure

MILLION, GIGA = 10**6, 10**9

SCALES = {
    "M": MILLION,
    "MFLOPs": MILLION,
    "10^6 MACs excl. fc": MILLION,
    "2^20 MACs excl. fc": MILLION,  # binary, as those figures say
    "2^20 MACs incl. fc": MILLION,
    "G": GIGA,
    "GFLOPs": GIGA,
    "count": 1,
    "MACs": 1,
    "ops": 1,
}
"""What one of a unit is worth, of parameters and operations."""

BINARY = {MILLION: 2**20, GIGA: 2**30}
"""What it is worth where a paper counts in powers of two."""

SHARES = {"fraction": 1.0, "%": 100.0}
"""What the whole is, of accuracies and errors."""


def scale(figure: Figure) -> float:
    """Return how many parameters or multiply-accumulates one of a figure's unit is."""
    worth = SCALES[figure.unit]
    worth = BINARY[worth] if figure.options.get("binary") else worth
    return worth / figure.options.get("operations_per_mac", 1)


def measured_value(figure: Figure, measured: float) -> float:
    """Return a measured value in the unit of a printed figure.

    Args:
        figure: The printed figure.
        measured: An accuracy as a share from 0 to 1, for errors too; a number of parameters or multiply-accumulates;
            or milliseconds.

    Example:
        >>> measured_value(Figure("top1_error", "28.27", "%"), 0.75)
        25.0
        >>> measured_value(Figure("params", "2.3", "M"), 2_296_922)
        2.296922
    """
    if figure.kind.how == "count":
        return measured / scale(figure)
    if figure.kind.how == "train":
        share = 1 - measured if figure.kind.smaller_is_better else measured
        return share * SHARES[figure.unit]
    if figure.kind.how == "latency" and figure.unit == "ms":
        return measured
    raise ValueError(f"{figure.metric} in {figure.unit} is not measured")
