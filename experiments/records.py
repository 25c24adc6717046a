"""What was measured: one row for each figure of each run, in ``experiments/results/papers/PAPER.csv``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from experiments import RESULTS, kept_rows


@dataclass(frozen=True)
class Record:
    """One measured figure.

    Args:
        paper: The paper's name, see :mod:`experiments.papers`.
        row: ``TABLE/ROW``.
        metric: The printed figure that it is beside, such as ``top1_accuracy``.
        value: What was measured, in ``unit``.
        unit: As the paper prints it.
        seed: Seed of the training; empty where nothing is random.
        epochs: Epochs trained; empty where nothing is trained.
        protocol: ``full``, ``quick``, ``count`` or ``latency``.
        images_per_second: Speed of training, the median of the epochs; empty where nothing is trained.
        wall_seconds: How long it took, all parts of an interrupted run together.
        hardware: Processor or GPU, and how many.
        versions: Of the libraries, ``torch 2.14.1; timm 1.0.31``.
        commit: Of this package's code, with ``-dirty`` if it was changed; the version where there is no checkout.
        date: When it ended, ``2026-01-31``.
        command: What measured it.
    """

    paper: str
    row: str
    metric: str
    value: str
    unit: str
    seed: str
    epochs: str
    protocol: str
    images_per_second: str
    wall_seconds: str
    hardware: str
    versions: str
    commit: str
    date: str
    command: str

    @property
    def path(self) -> str:
        """``PAPER/TABLE/ROW``."""
        return f"{self.paper}/{self.row}"


COLUMNS = tuple(field.name for field in fields(Record))


def append(records: Iterable[Record], folder: Path = RESULTS) -> None:
    """Add records to their paper's file; several processes may do so at once.

    Raises:
        ArgumentError: The file cannot be written, or has other columns.
    """
    by_file: dict[Path, list[Record]] = {}
    for record in records:
        by_file.setdefault(folder / f"{record.paper}.csv", []).append(record)
    for path, found in by_file.items():
        kept_rows.append(path, found, Record, ("value",))


def read(path: Path) -> list[Record]:
    """Return the records of one file.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    return kept_rows.read(path, Record, ("value",))


def read_all(folder: Path = RESULTS) -> Iterator[Record]:
    """Yield the records of every paper.

    Raises:
        ArgumentError: A file is damaged; names the file and the line.
    """
    for path in sorted(folder.glob("*.csv")):
        yield from read(path)
