"""CSV files that several processes add to: a row for each of a dataclass's objects, all of whose fields are text."""

import csv
import io
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from dyc.whole_files import written_whole
from lightning_modules.disk import NO_SPACE, append_whole, disk_error
from ops import ArgumentError

Kept = TypeVar("Kept")

Older = Mapping[tuple[str, ...], Callable[[dict[str, str]], dict[str, str]]]
"""By the columns of older files, what makes a row of today's columns from one of theirs."""

MEND = "mend the line or move the file away"


def append(
    path: Path, rows: Sequence[Kept], kind: type[Kept], numbers: Collection[str] = (), older: Older | None = None
) -> None:
    """Add rows to a file under its lock; an older file is written again, whole, with today's columns.

    Args:
        path: The file; it and its folder are made where they do not exist.
        rows: The objects.
        kind: Their class, whose fields are the columns.
        numbers: Columns that hold a number in every row.
        older: How older files are read.

    Raises:
        ArgumentError: The file cannot be written, or is damaged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            begun = path.exists() and path.stat().st_size > 0
            there = _read(path, kind, numbers, older) if begun else []  # a damaged file is left alone
            if begun and _head(path) != _columns(kind):
                with written_whole(path) as file:
                    file.write(_text([*there, *rows], kind, head=True).encode())
            else:
                append_whole(path, _text(rows, kind, head=not begun))
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ArgumentError("results", sentence=disk_error(error)) from error
        raise ArgumentError("results", f"{str(path)!r} ({error.strerror})", "a file that can be written") from error


def _text(rows: Sequence[Kept], kind: type[Kept], head: bool) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(kind), lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def read(path: Path, kind: type[Kept], numbers: Collection[str] = (), older: Older | None = None) -> list[Kept]:
    """Return the rows of a file; arguments as in :func:`append`.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    lock = Path(f"{path}.lock")
    with FileLock(lock) if lock.exists() and os.access(lock, os.W_OK) else nullcontext():  # whole lines alone
        return _read(path, kind, numbers, older)


def _head(path: Path) -> tuple[str, ...]:
    """Return the columns of a file that can be read."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return tuple(next(csv.reader(file), ()))


def _columns(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _read(path: Path, kind: type[Kept], numbers: Collection[str], older: Older | None) -> list[Kept]:
    columns, renew = _columns(kind), None
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
                found.append(_row(cells, columns, kind, numbers, path.stem, renew))
            elif tuple(cells) in (older or {}):
                columns, renew = tuple(cells), older[tuple(cells)]
            elif tuple(cells) != columns:
                raise csv.Error(f"the columns {', '.join(cells)} are not {', '.join(columns)}")
    except (csv.Error, ValueError) as error:
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: {error}; {MEND}") from error
    if text and not text.endswith("\n"):
        raise ArgumentError("results", sentence=f"{path}, line {reader.line_num}: the line does not end; {MEND}")
    return found


def _row(
    cells: list[str],
    columns: tuple[str, ...],
    kind: type[Kept],
    numbers: Collection[str],
    paper: str,
    renew: Callable[[dict[str, str]], dict[str, str]] | None,
) -> Kept:
    """Return a line of a paper's file, which has these columns, as an object.

    Raises:
        ValueError: The line is damaged.
    """
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, not {len(columns)}: {', '.join(columns)}")
    named = dict(zip(columns, cells))
    row = kind(**(renew(named) if renew else named))
    for name in numbers:
        if not math.isfinite(float(getattr(row, name))):
            raise ValueError(f"the {name} {getattr(row, name)} is not a number")
    if getattr(row, "paper", paper) != paper:
        raise ValueError(f"the paper {row.paper!r} has a file of its own")
    if any("\0" in cell for cell in cells):
        raise ValueError("there is a null character, as after a crash of the machine")
    return row
