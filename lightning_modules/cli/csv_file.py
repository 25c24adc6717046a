"""A CSV file that is written while measuring, so that what was measured before an interruption is kept."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.disk import append_whole, disk_error, is_of_the_disk
from ops import ArgumentError


def _short(value: object) -> object:
    """Return floats with four significant figures and everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else value


class CsvFile:
    """A CSV file that is claimed at once, so that two runs cannot share one, and written by every :meth:`write`.

    Args:
        path: The file; None writes nothing.
        facts: Columns that are the same in every row.

    Raises:
        ArgumentError: The file exists or cannot be made.
    """

    def __init__(self, path: Path | None, facts: dict[str, str]):
        self.path, self.facts, self.columns = path, facts, None
        if path is not None:
            try:
                path.open("x").close()
            except OSError as error:
                raise ArgumentError(
                    "--csv", f"{str(path)!r} ({error.strerror})", "a new file in an existing folder"
                ) from error

    def write(self, rows: Sequence[dict[str, object]]) -> None:
        """Append rows, which all have the same columns.

        Raises:
            ArgumentError: The disk is full, say; the rows before are kept.
        """
        if self.path is None:
            return
        text, first = io.StringIO(newline=""), self.columns is None
        writer = csv.DictWriter(text, [*rows[0], *self.facts] if first else self.columns)
        if first:
            writer.writeheader()
        writer.writerows({**{k: _short(v) for k, v in row.items()}, **self.facts} for row in rows)
        try:
            append_whole(self.path, text.getvalue())
        except OSError as error:
            if not is_of_the_disk(error):
                raise
            raise ArgumentError("--csv", sentence=disk_error(error)) from error
        self.columns = writer.fieldnames

    def __enter__(self) -> "CsvFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.path is not None and self.columns is None:  # nothing was measured
            self.path.unlink(missing_ok=True)
