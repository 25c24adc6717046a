"""How the pixels of an image file are read: as a viewer shows them, with 8 bits per channel.

lightning_modules/data/README.md has the table of what becomes of each kind of image.
"""

import errno
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO = 0
SIGNED, FLOATING = 2, 3
OF_16_BITS = ("PNG", "PPM")
"""Formats whose deepest pixels have 16 bits, also where Pillow holds them in its 32-bit mode ``I``."""

Read = TypeVar("Read")


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
        MemoryError: The image does not fit into memory.
        OSError: The file cannot be read, whatever it holds.
    """
    return read_with(file, lambda image: to_8_bits(image, mode))


def read_with(file: Any, read: Callable[[Image.Image], Read], need: str = "images only") -> Read:
    """Open an image file and return what ``read`` makes of it.

    Args:
        file: A path, or a file opened for reading.
        read: Called with the opened image.
        need: What is needed in place of a damaged file.

    Raises:
        UnusableImage, MemoryError, OSError: As :func:`read_image`.
    """
    try:
        with Image.open(file) as image:
            return read(image)
    except (UnusableImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        got = f"which has more than {limit:,} pixels, Pillow's limit against decompression bombs"
        raise UnusableImage(got, "a smaller image: resize it, or move it out of the folder") from error
    except UnidentifiedImageError as error:
        kind = {FLOATING: "floating-point numbers", SIGNED: "signed integers"}.get(_format_of_tiff(file))
        if kind is not None:  # floating-point numbers of 16 or 64 bits, say
            raise _unknown_range(kind) from error
        raise UnusableImage("which is not an image, or is damaged", need) from error
    except Exception as error:  # Pillow raises many types for damaged files
        # A damaged file may also say that something lies ahead of its first byte, which cannot be sought.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise UnusableImage(f"which is damaged ({error})", need) from error


def to_8_bits(image: Image.Image, mode: str) -> Image.Image:
    """Return an opened image upright, on white where it is transparent, in ``"RGB"`` or ``"L"``.

    Raises:
        UnusableImage: The range of its pixels is unknown, or Pillow cannot convert them.
    """
    image.load()  # what is damaged in the pixels shows here
    _turn_upright(image)
    if SIGNED in _tags(image).get(SAMPLE_FORMAT, ()):  # Pillow takes those of 8 bits for unsigned ones
        raise _unknown_range("signed integers")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in OF_16_BITS):
        image = _scale_grey(image)
    elif image.mode in ("I", "F"):
        kind = "integers, signed or of 32 bits" if image.mode == "I" else "floating-point numbers"
        raise _unknown_range(f"{kind} (Pillow's mode {image.mode})")
    try:
        if image.has_transparency_data:
            paper = Image.new("RGBA", image.size, "white")
            paper.alpha_composite(image.convert("RGBA"))
            image = paper
        return image.convert(mode)
    except ValueError as error:
        raise UnusableImage(f"of Pillow's mode {image.mode} ({error})", "an image in grey, RGB or CMYK") from error


def _unknown_range(kind: str) -> UnusableImage:
    need = "pixels of 8 bits, or of 16 bits without a sign: the file does not say which value is white"
    return UnusableImage(f"whose pixels are {kind}", need)


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})  # of a TIFF


def _format_of_tiff(file: Any) -> int | None:
    """Return what the samples of a TIFF are that Pillow does not open; None if it says nothing or is no TIFF."""
    try:
        with nullcontext(file) if hasattr(file, "read") else open(file, "rb") as opened:
            opened.seek(0)
            tags = TiffImagePlugin.ImageFileDirectory_v2(opened.read(8))
            opened.seek(tags.next)
            tags.load(opened)
            return tags.get(SAMPLE_FORMAT, (None,))[0]
    except Exception:  # Pillow raises many types for what is no TIFF
        return None


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF, for which Pillow raises many types, leaves the pixels as readable as before
        return


def _scale_grey(image: Image.Image) -> Image.Image:
    """Map 0 to black, and the largest value of the file's depth, or the one that is transparent, to white."""
    tags, transparent = _tags(image), image.info.get("transparency")
    largest = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1  # a TIFF may have 12 of the 16 bits
    pixels = np.asarray(image).astype(np.int64)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns it round for 8 bits only
        pixels = largest - pixels
    if transparent is not None:
        pixels[pixels == transparent] = largest
    return Image.fromarray(np.rint(pixels * (255 / largest)).astype(np.uint8))
