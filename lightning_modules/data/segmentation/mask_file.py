"""How a mask is read: the numbers in its file as they are, or the reason why they cannot be the numbers of classes."""

import re
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from lightning_modules.data.decode import UnusableImage, read_with

COLOURED = (
    "numbers of classes, as a palette or grey PNG has them: "
    "lightning_modules/segmentation/README.md shows how to convert colours"
)
LOSSY = ("jpeg", "tiff_jpeg")
LARGEST = 2**16 - 1
"""The largest value of a mask, which has 16 bits at most."""

STRETCHED = {"L;2": 255 // 3, "L;4": 255 // 15}
"""By how much Pillow multiplies values of 2 and 4 bits, so that the largest is white, by how they lie in the file."""

INVERTED = re.compile(r"(1|L);[24]?IR?")
"""How values lie in a TIFF whose 0 is white: Pillow turns them round, to show them as grey."""


def read_mask(file: Any) -> tuple[np.ndarray, list[int] | None]:
    """Read a mask.

    Args:
        file: A path, or a file opened for reading.

    Returns:
        The values ``(H, W)``, of an integer type, and the palette ``[r0, g0, b0, r1, ...]`` if the file has one.

    Raises:
        UnusableImage: The file is damaged, or holds no numbers of classes.
        OSError: The file cannot be read, whatever it holds.
    """
    return read_with(file, _values, "a whole mask")


def _values(image: Image.Image) -> tuple[np.ndarray, list[int] | None]:
    if image.format == "JPEG" or image.info.get("compression") in LOSSY:
        raise UnusableImage("which is a JPEG", "a PNG: to compress, JPEG changes values, and with them classes")
    packing = _packing(image)
    image.load()
    if image.mode == "F":
        raise UnusableImage("whose values are floating-point numbers", COLOURED)
    if len(image.getbands()) > 1:
        raise UnusableImage(f"whose pixels are colours (Pillow's mode {image.mode})", COLOURED)
    if orientation(image) != 1:
        raise UnusableImage("which its EXIF turns or mirrors", "a mask without EXIF, upright as its image is shown")
    values = np.asarray(image)
    if image.mode == "1":
        values = values.astype(np.uint8)
    stretched = STRETCHED.get(packing[:3], 1)
    if stretched > 1:
        values = values // stretched
    if INVERTED.fullmatch(packing):
        values = (1 if image.mode == "1" else 255 // stretched) - values
    if image.mode == "I" and not 0 <= values.min() <= values.max() <= LARGEST:
        raise UnusableImage(f"with values from {values.min()} to {values.max()}", f"values from 0 to {LARGEST}")
    return values, image.getpalette() if image.mode == "P" else None


def _packing(image: Image.Image) -> str:
    """Return how the values of an image that is opened, and not yet read, lie in its file, by Pillow's names: ``L;4``.

    It is empty where Pillow does not say.
    """
    how = image.tile[0][3] if image.tile else None  # a text, or a tuple that starts with it
    packing = how[0] if isinstance(how, tuple) and how else how
    return packing if isinstance(packing, str) else ""


def orientation(image: Image.Image) -> int:
    """Return how the EXIF of an opened image says to show it: 1 as it is, 2 to 8 mirrored or turned."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF, for which Pillow raises many types, is passed over when the image is read too
        return 1
