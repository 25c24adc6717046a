"""What is written of images that were segmented: a mask for each, and how much of it each class has."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from lightning_modules.data.segmentation.palette import VOID, Colour, save_mask
from lightning_modules.errors import ArgumentError
from lightning_modules.prediction.pipeline import Predicted

NOT_FINITE = "logits are not finite"


class Segmented(NamedTuple):
    """The class of each pixel ``(H, W)``, 255 where the logits are not finite, and each class's share of all pixels."""

    classes: np.ndarray
    shares: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether every pixel has a class."""
        return bool((self.classes != VOID).all())


def segmented(logits: np.ndarray, images: int) -> list[Segmented]:
    """Return what logits ``(B, num_classes, H, W)`` say of each image.

    Raises:
        ArgumentError: They have another shape, or there are more than 255 classes.
    """
    if logits.ndim != 4 or len(logits) != images or not 2 <= logits.shape[1] <= VOID:
        got = f"outputs of shape {tuple(logits.shape)} for {images} images"
        need = f"logits of pixels (batch, classes, height, width), from 2 to {VOID} classes"
        raise ArgumentError("model", got, need)
    count = logits.shape[1]
    found = most_probable(logits)
    return [Segmented(each, np.bincount(each.ravel(), minlength=VOID + 1)[:count] / each.size) for each in found]


def most_probable(logits: np.ndarray) -> np.ndarray:
    """Return the class of each pixel ``(B, H, W)``, uint8; 255 where logits ``(B, num_classes, H, W)`` are not finite.

    Example:
        >>> most_probable(np.array([[[[1.0, 0.0, np.nan]], [[0.0, 2.0, 0.0]]]])).tolist()
        [[[0, 1, 255]]]
    """
    with np.errstate(invalid="ignore"):
        largest = logits.max(1)  # NaN where any is
    found = np.full(largest.shape, VOID, np.uint8)
    for number in reversed(range(logits.shape[1])):  # plane by plane: argmax would copy all of them; the first one wins
        np.copyto(found, number, where=logits[:, number] == largest)
    found[~np.isfinite(largest)] = VOID
    return found


def mask_names(images: Sequence[str]) -> list[str]:
    """Return the file of each image's mask: as the image lies below the folder that all of them share.

    The extension becomes ``.png``. Where images differ in it alone, all names keep it before that.

    Example:
        >>> mask_names(["set/a/1.jpg", "set/b/1.jpg"]), mask_names(["1.jpg", "1.png"])
        (['a/1.png', 'b/1.png'], ['1.jpg.png', '1.png.png'])
    """
    places = [os.path.abspath(each) for each in images]
    shared = os.path.commonpath([os.path.dirname(each) for each in places])
    names = [os.path.relpath(each, shared) for each in places]
    stems = [os.path.splitext(each)[0] for each in names]
    plain = len(set(stems)) == len(set(names))
    return [f"{stem if plain else name}.png" for stem, name in zip(stems, names)]


class MaskFolder:
    """Write a mask for each image, and a row of the table with the share of each class.

    Args:
        folder: Where the masks are written.
        table: Where the rows are written.
        format: Of the table, ``csv`` or ``jsonl``.
        images: All images, in order.
        colours: Of the classes.
        names_of: Returns the names of so many classes.
    """

    lacks = f"have pixels without a class, as {NOT_FINITE}"

    def __init__(
        self,
        folder: Path,
        table: TextIO,
        format: str,
        images: Sequence[str],
        colours: Sequence[Colour],
        names_of: Callable[[int], list[str]],
    ):
        self.folder, self.table, self.colours, self.names_of = folder, table, colours, names_of
        self.names = iter(mask_names(images))
        self._row = csv.writer(table, lineterminator="\n").writerow if format == "csv" else None
        self.classes: list[str] = []

    def begin(self, found: Segmented | None) -> None:
        """Write the head of the table, given what was found for the first image; None if none could be read."""
        self.classes = self.names_of(0 if found is None else len(found.shares))
        if self._row is not None:
            self._row(["image", "mask", *(f"share/{name}" for name in self.classes), "error"])

    def write(self, image: Predicted) -> bool:
        """Write an image's mask and row, and return whether each of its pixels has a class."""
        name, error = next(self.names), image.error
        shares: list[float] = []
        if image.found is not None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            save_mask(self.folder / name, image.found.classes, image.size, self.colours)
            shares = [round(float(share), 6) for share in image.found.shares]
            error = "" if image.found.finite else NOT_FINITE
        if self._row is not None:
            cells = [f"{share:.6f}" for share in shares] or [""] * len(self.classes)
            self._row([image.path, name if shares else "", *cells, error])
        else:
            known = {"mask": name, "shares": dict(zip(self.classes, shares))} if shares else {}
            row = {"image": image.path, **known, **({"error": error} if error else {})}
            self.table.write(json.dumps(row) + "\n")
        return not error

    def flush(self) -> None:
        """Let others read the rows."""
        self.table.flush()
