"""What is measured without training: :func:`measure` counts and times rows of the papers' tables, and keeps that."""

from collections.abc import Sequence
from pathlib import Path

from experiments.measure.counts import count
from experiments.measure.latency import time_rows
from experiments.papers.entries import Row

__all__ = ["count", "measure", "time_rows"]


def measure(rows: Sequence[Row], how: str, results: Path) -> None:
    """Measure rows in one way, print the figures beside the printed ones, and add them to the records.

    Args:
        rows: Rows that share no other row's runs.
        how: ``"count"`` or ``"latency"``.
        results: Folder of the records.

    Raises:
        ArgumentError: The records cannot be written.
    """
    {"count": count, "latency": time_rows}[how](rows, results)
