"""Masks as files that show the colours of their classes; NumPy and Pillow are enough."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_modules.disk import naming

Colour = tuple[int, int, int]

VOID = 255
"""The value of pixels without a class."""

WHITE: Colour = (255, 255, 255)


def save_mask(path: Path, mask: np.ndarray, size: tuple[int, int], colours: Sequence[Colour] = ()) -> None:
    """Write a mask as PNG: the class of each pixel as its value, shown in the colour of the class.

    Args:
        path: The file.
        mask: Classes ``(H, W)`` up to 255.
        size: Width and height of the file, to which the nearest pixels are taken.
        colours: Of the classes; what has none is white. Without any, the file is grey.

    Raises:
        OSError: The file cannot be written; names it.
    """
    image = Image.fromarray(mask.astype(np.uint8))
    if image.size != size:
        image = image.resize(size, Image.Resampling.NEAREST)
    if colours:
        shown = [*colours, *[WHITE] * (256 - len(colours))]
        image.putpalette([channel for colour in shown for channel in colour])  # which makes it one of indices
    try:
        with naming(path):
            image.save(path)
    except OSError:
        with suppress(OSError):  # half a mask
            path.unlink()
        raise
