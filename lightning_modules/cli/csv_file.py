"""A CSV file that is written while measuring, so that what was measured before an interruption is kept."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ops import ArgumentError


def _short(value: object) -> object:
    """Return floats with four significant figures and everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else value


class CsvFile:
    """A CSV file that is claimed at once, so that two runs cannot share one, and flushed after every :meth:`write`.

    Args:
        path: The file; None writes nothing.
        facts: Columns that are the same in every row.

    Raises:
        ArgumentError: The file exists or cannot be made.
    """

    def __init__(self, path: Path | None, facts: dict[str, str]):
        self.path, self.facts, self.writer, self.file = path, facts, None, None
        if path is not None:
            try:
                self.file = path.open("x", newline="")
            except OSError as error:
                raise ArgumentError(
                    "--csv", f"{str(path)!r} ({error.strerror})", "a new file in an existing folder"
                ) from error

    def write(self, rows: Sequence[dict[str, object]]) -> None:
        """Append rows, which all have the same columns."""
        if self.file is None:
            return
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, [*rows[0], *self.facts])
            self.writer.writeheader()
        self.writer.writerows({**{k: _short(v) for k, v in row.items()}, **self.facts} for row in rows)
        self.file.flush()

    def __enter__(self) -> "CsvFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()
            if self.writer is None:  # nothing was measured
                self.path.unlink()
