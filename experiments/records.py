"""What was measured: one row for each figure of each run, in ``experiments/results/papers/PAPER.csv``."""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock

from ops import ArgumentError

FOLDER = Path("experiments/results/papers")
"""Where records are kept, from the current folder."""


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
MEND = "mend the line or move the file away"


def append(records: Iterable[Record], folder: Path = FOLDER) -> None:
    """Add records to their paper's file; several processes may do so at once.

    Raises:
        ArgumentError: The file cannot be written, or has other columns.
    """
    by_file: dict[Path, list[Record]] = {}
    for record in records:
        by_file.setdefault(folder / f"{record.paper}.csv", []).append(record)
    for path, found in by_file.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                _append(path, found)
        except OSError as error:
            raise ArgumentError("results", f"{str(path)!r} ({error.strerror})", "a file that can be written") from error


def _append(path: Path, records: list[Record]) -> None:
    if path.exists() and path.stat().st_size:
        _read(path)  # a damaged file is left alone
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerows(asdict(record) for record in records)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Record]:
    """Return the records of one file.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    lock = Path(f"{path}.lock")
    with FileLock(lock) if lock.exists() and os.access(lock, os.W_OK) else nullcontext():  # whole lines alone
        return _read(path)


def _read(path: Path) -> list[Record]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write the mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ArgumentError("results", sentence=f"{path}, line {line}: is not UTF-8; {MEND}") from error
    except OSError as error:
        raise ArgumentError("results", f"{str(path)!r} ({error.strerror})", "a file of records") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        for cells in reader:
            if reader.line_num > 1:
                found.append(_record(cells, path.stem))
            elif tuple(cells) != COLUMNS:
                raise csv.Error(f"the columns {', '.join(cells)} are not {', '.join(COLUMNS)}")
    except (csv.Error, ValueError) as error:
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: {error}; {MEND}") from error
    if text and not text.endswith("\n"):
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: the line does not end; {MEND}")
    return found


def _record(cells: list[str], paper: str) -> Record:
    """Return a line of a paper's file as a record.

    Raises:
        ValueError: The line is damaged.
    """
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells, not {len(COLUMNS)}: {', '.join(COLUMNS)}")
    record = Record(*cells)
    if not math.isfinite(float(record.value)):
        raise ValueError(f"the value {record.value} is not a number")
    if record.paper != paper:
        raise ValueError(f"the paper {record.paper!r} has a file of its own")
    if any("\0" in cell for cell in cells):
        raise ValueError("there is a null character, as after a crash of the machine")
    return record


def read_all(folder: Path = FOLDER) -> Iterator[Record]:
    """Yield the records of every paper.

    Raises:
        ArgumentError: A file is damaged; names the file and the line.
    """
    for path in sorted(folder.glob("*.csv")):
        yield from read(path)
