"""The rows of predictions: the most probable classes of each image, as CSV or JSON Lines."""

import csv
import json
from collections.abc import Callable, Sequence
from typing import TextIO

import numpy as np

from lightning_modules.prediction.pipeline import Predicted

NOT_FINITE = "probabilities are not finite"

Ranked = list[tuple[str, float]]
"""Names of classes with their probabilities, the most probable one first."""


def rank(probabilities: np.ndarray, names: Sequence[str], top: int) -> Ranked | None:
    """Return the most probable classes by probabilities ``(num_classes,)``; None unless all of them are finite."""
    if not np.isfinite(probabilities).all():
        return None
    best = np.argsort(-probabilities, kind="stable")[:top].tolist()
    return [(names[k], float(probabilities[k])) for k in best]


class CsvRows:
    """Write ``image,class1,probability1,...,error``: a row per image; one without classes has the reason at its end.

    Args:
        file: Where to.
        top: Number of classes per image.
        head: Write the names of the columns first.
    """

    def __init__(self, file: TextIO, top: int, head: bool = True):
        self.writer, self.top = csv.writer(file, lineterminator="\n"), top
        if head:
            columns = [f"{kind}{k}" for k in range(1, top + 1) for kind in ("class", "probability")]
            self.writer.writerow(["image", *columns, "error"])

    def write(self, image: str, ranked: Ranked | None, error: str = "") -> None:
        """Write the row of an image; ``error`` says why it has no classes, if it has none."""
        cells = [""] * 2 * self.top if ranked is None else [x for name, p in ranked for x in (name, f"{p:.6f}")]
        self.writer.writerow([image, *cells, error if ranked is None else ""])


class JsonRows:
    """Write a JSON object per image and line: ``image``, and ``predictions`` (rank, class, probability) or ``error``.

    Args:
        file: Where to.
        top: Number of classes per image.
    """

    def __init__(self, file: TextIO, top: int):
        self.file = file

    def write(self, image: str, ranked: Ranked | None, error: str = "") -> None:
        """Write the line of an image; ``error`` says why it has no classes, if it has none."""
        row: dict[str, object] = {"image": image}
        if ranked is None:
            row["error"] = error
        else:
            found = enumerate(ranked, 1)
            row["predictions"] = [{"rank": k, "class": name, "probability": round(p, 6)} for k, (name, p) in found]
        self.file.write(json.dumps(row) + "\n")


ROWS = {"csv": CsvRows, "jsonl": JsonRows}
"""By the name of the format, which is also the end of the file's name."""


class ClassTable:
    """Write a row for each image: its most probable classes.

    Args:
        file: Where to.
        format: ``csv`` or ``jsonl``.
        top: Number of classes per image.
        names_of: Returns the names of so many classes.
    """

    lacks = f"have no class, as {NOT_FINITE}"

    def __init__(self, file: TextIO, format: str, top: int, names_of: Callable[[int], list[str]]):
        self.file, self.format, self.top, self.names_of = file, format, top, names_of

    def begin(self, found: np.ndarray | None) -> None:
        """Write the head, given the probabilities of the first image; None if none could be read."""
        self.names = self.names_of(0 if found is None else len(found))
        self.rows = ROWS[self.format](self.file, min(self.top, len(self.names) or self.top))

    def write(self, image: Predicted) -> bool:
        """Write the row of an image, and return whether it has classes."""
        ranked = None if image.error else rank(image.found, self.names, self.top)
        self.rows.write(image.path, ranked, image.error or NOT_FINITE)
        return ranked is not None

    def flush(self) -> None:
        """Let others read the rows."""
        self.file.flush()
