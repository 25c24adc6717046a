"""Analyses that are kept: what ``dyc analyze`` wrote, each in a folder of ``experiments/results/analyses``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops import ArgumentError

Row = Mapping[str, str]

FOLDER = "analyses"
"""Their folder, beside that of the records."""


def folder_beside(results: Path) -> Path:
    """Return the folder of the analyses that belong to a folder of records."""
    return results.parent / FOLDER


def read(path: Path) -> list[Row]:
    """Return the rows of a table.

    Raises:
        ArgumentError: It cannot be read, or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError("analyses", f"{str(path)!r} ({reason})", "a table that dyc analyze wrote") from error
    if not rows or any(None in row or None in row.values() for row in rows):
        raise ArgumentError("analyses", f"{str(path)!r}, which has no whole rows", "a table that dyc analyze wrote")
    return rows


def about(folder: Path) -> dict[str, str]:
    """Return what an analysis says of its making: command, date, machine and versions; nothing where it says none."""
    path = folder / "about.csv"
    return {row["fact"]: row["value"] for row in read(path)} if path.exists() else {}


class Lookup:
    """Finds rows and numbers of a table, and says what was looked for where there is none.

    Args:
        path: The table.
        key: Who looks.

    Raises:
        ArgumentError: The table cannot be read.
    """

    def __init__(self, path: Path, key: str):
        self.path, self.key, self.rows = path, key, read(path)

    def has(self, column: str) -> bool:
        """Tell whether there is a column."""
        return column in self.rows[0]

    def find(self, where: Mapping[str, Any]) -> list[Row]:
        """Return one row for each choice of values; a list of values is a choice for each of them.

        Raises:
            ArgumentError: There is no such column, or not exactly one row of a choice.
        """
        choices: list[dict[str, Any]] = [{}]
        for column, wanted in where.items():
            self._check(column)
            values = wanted if isinstance(wanted, list) else [wanted]
            choices = [{**choice, column: value} for choice in choices for value in values]
        return [self._one(choice) for choice in choices]

    def _one(self, where: Mapping[str, Any]) -> Row:
        rows = [row for row in self.rows if all(_same(row[column], wanted) for column, wanted in where.items())]
        if len(rows) != 1:
            said = ", ".join(f"{column} {wanted!r}" for column, wanted in where.items()) or "any values"
            raise self.error(f"needs one row with {said}, and there are {len(rows) or 'none'}")
        return rows[0]

    def number(self, row: Row, column: str) -> float | None:
        """Return a number of a row; None where its cell is empty.

        Raises:
            ArgumentError: There is no such column, or no number in it.
        """
        self._check(column)
        try:
            return float(row[column]) if row[column] else None
        except ValueError as error:
            raise self.error(f"needs a number in the column {column}, not {row[column]!r}") from error

    def _check(self, column: str) -> None:
        if not self.has(column):
            raise self.error(f"needs the column {column}, and there are {', '.join(self.rows[0])}")

    def error(self, what: str) -> ArgumentError:
        """Return an error that names the table and who looks."""
        return ArgumentError("observations", sentence=f"{self.path}: {self.key} {what}")


def _same(cell: str, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return cell == wanted
    try:
        return float(cell) == wanted
    except ValueError:
        return False


def files(folder: Path) -> Sequence[str]:
    """Return the names of the tables of an analysis, that about its making left out."""
    return sorted(path.name for path in folder.glob("*.csv") if path.name != "about.csv")
