"""CSV files that several processes add to: a row for each of a dataclass's objects, all of whose fields are text."""

import csv
import io
import os
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from ops import ArgumentError

Kept = TypeVar("Kept")


def append(path: Path, rows: Sequence[Kept], kind: type[Kept], numbers: Collection[str] = ()) -> None:
    """Add rows to a file under its lock.

    Args:
        path: The file; it and its folder are made where they do not exist.
        rows: The objects.
        kind: Their class, whose fields are the columns.
        numbers: Columns that hold a number in every row.

    Raises:
        ArgumentError: The file cannot be written, or is damaged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists() and path.stat().st_size:
                _read(path, kind, numbers)  # a damaged file is left alone
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, _columns(kind), lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerows(asdict(row) for row in rows)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise ArgumentError("results", f"{str(path)!r} ({error.strerror})", "a file that can be written") from error


def read(path: Path, kind: type[Kept], numbers: Collection[str] = ()) -> list[Kept]:
    """Return the rows of a file; arguments as in :func:`append`.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    lock = Path(f"{path}.lock")
    with FileLock(lock) if lock.exists() and os.access(lock, os.W_OK) else nullcontext():  # whole lines alone
        return _read(path, kind, numbers)


def _columns(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _read(path: Path, kind: type[Kept], numbers: Collection[str]) -> list[Kept]:
    columns = _columns(kind)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError("results", f"{str(path)!r} ({error})", "a file of records") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        for cells in reader:
            if reader.line_num == 1 and tuple(cells) == columns:
                continue
            if reader.line_num == 1 or len(cells) != len(columns):
                raise csv.Error(f"{len(cells)} cells that are not {len(columns)}: {', '.join(columns)}")
            row = kind(*cells)
            for name in numbers:
                float(getattr(row, name))
            found.append(row)
    except (csv.Error, ValueError) as error:
        sentence = f"{path}, line {reader.line_num}: {error}; mend the line or move the file away"
        raise ArgumentError("results", sentence=sentence) from error
    if text and not text.endswith("\n"):
        sentence = f"{path}, line {reader.line_num}: the line does not end; mend the line or move the file away"
        raise ArgumentError("results", sentence=sentence)
    return found
