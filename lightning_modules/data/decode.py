"""How the pixels of an image file are read: as a viewer shows them, with 8 bits per channel.

experiments/README.md has the table of what becomes of each kind of image.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
WHITE_IS_ZERO = 0
OF_16_BITS = ("PNG", "PPM")
"""Formats whose deepest pixels have 16 bits, also where Pillow holds them in its 32-bit mode ``I``."""


class UnusableImage(Exception):
    """An image cannot be read; the message goes on after the name of its file.

    Args:
        got: What is wrong with the image.
        need: What is needed.
    """

    def __init__(self, got: str, need: str):
        super().__init__(got)
        self.need = need


def read_image(file: Any, mode: str = "RGB") -> Image.Image:
    """Read the first image of a file.

    Args:
        file: A path, or a file opened for reading.
        mode: Pillow's mode of what is returned, ``"RGB"`` or ``"L"``.

    Raises:
        UnusableImage: The file is damaged, too large, or has pixels whose range is unknown.
    """
    try:
        with Image.open(file) as image:
            return to_8_bits(image, mode)
    except UnusableImage:
        raise
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        got = f"which has more than {limit:,} pixels, Pillow's limit against decompression bombs"
        raise UnusableImage(got, "a smaller image: resize it, or move it out of the folder") from error
    except Exception as error:  # Pillow raises many types for damaged files
        raise UnusableImage(f"which is damaged ({error})", "images only") from error


def to_8_bits(image: Image.Image, mode: str) -> Image.Image:
    """Return an opened image upright, on white where it is transparent, in ``"RGB"`` or ``"L"``.

    Raises:
        UnusableImage: The range of its pixels is unknown, or Pillow cannot convert them.
    """
    image.load()  # what is damaged in the pixels shows here
    _turn_upright(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in OF_16_BITS):
        image = _scale_grey(image)
    elif image.mode in ("I", "F"):
        kind = "integers, signed or of 32 bits" if image.mode == "I" else "floating-point numbers"
        need = "pixels of 8 bits, or of 16 bits without a sign: the file does not say which value is white"
        raise UnusableImage(f"whose pixels are {kind} (Pillow's mode {image.mode})", need)
    try:
        if image.has_transparency_data:
            paper = Image.new("RGBA", image.size, "white")
            paper.alpha_composite(image.convert("RGBA"))
            image = paper
        return image.convert(mode)
    except ValueError as error:
        raise UnusableImage(f"of Pillow's mode {image.mode} ({error})", "an image in grey, RGB or CMYK") from error


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF, for which Pillow raises many types, leaves the pixels as readable as before
        return


def _scale_grey(image: Image.Image) -> Image.Image:
    """Map 0 to black and the largest value of the file's depth to white."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF, which may have 12 of the 16 bits
    largest = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    pixels = np.asarray(image).astype(np.int64)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns it round for 8 bits only
        pixels = largest - pixels
    return Image.fromarray(np.rint(pixels * (255 / largest)).astype(np.uint8))
