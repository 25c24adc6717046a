"""CSV files that several processes add to: a row for each of a dataclass's objects, all of whose fields are text."""

import csv
import io
import math
import os
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from lightning_modules.disk import NO_SPACE, append_whole, disk_error
from ops import ArgumentError

Kept = TypeVar("Kept")

MEND = "mend the line or move the file away"


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
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, _columns(kind), lineterminator="\n")
            if not path.exists() or not path.stat().st_size:
                writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
            append_whole(path, text.getvalue())
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ArgumentError("results", sentence=disk_error(error)) from error
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
                found.append(_row(cells, kind, numbers, path.stem))
            elif tuple(cells) != columns:
                raise csv.Error(f"the columns {', '.join(cells)} are not {', '.join(columns)}")
    except (csv.Error, ValueError) as error:
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: {error}; {MEND}") from error
    if text and not text.endswith("\n"):
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: the line does not end; {MEND}")
    return found


def _row(cells: list[str], kind: type[Kept], numbers: Collection[str], paper: str) -> Kept:
    """Return a line of a paper's file as an object.

    Raises:
        ValueError: The line is damaged.
    """
    columns = _columns(kind)
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, not {len(columns)}: {', '.join(columns)}")
    row = kind(*cells)
    for name in numbers:
        if not math.isfinite(float(getattr(row, name))):
            raise ValueError(f"the {name} {getattr(row, name)} is not a number")
    if getattr(row, "paper", paper) != paper:
        raise ValueError(f"the paper {row.paper!r} has a file of its own")
    if any("\0" in cell for cell in cells):
        raise ValueError("there is a null character, as after a crash of the machine")
    return row
