"""The CSV file of a benchmark, written as it goes: what was measured before an interruption is kept."""

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path

from ops import ArgumentError


def command_line(argv: Sequence[str]) -> str:
    """Return the command as it would be typed."""
    return shlex.join(["dyc", "bench", *argv])


def short(value: object) -> object:
    """Return floats with four significant figures and everything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else value


class Rows:
    """A CSV file that is claimed at once, so that two runs cannot share one, and flushed after every comparison.

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
                raise ArgumentError("--csv", f"{str(path)!r} ({error.strerror})", "a new file in a folder") from error

    def write(self, rows: Sequence[dict[str, object]]) -> None:
        """Append rows, which all have the same columns."""
        if self.file is None:
            return
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, [*rows[0], *self.facts])
            self.writer.writeheader()
        self.writer.writerows({**{k: short(v) for k, v in row.items()}, **self.facts} for row in rows)
        self.file.flush()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()
            if self.writer is None:  # nothing was measured
                self.path.unlink()
