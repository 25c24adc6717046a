"""From masks in colours, as annotation tools draw them, to masks that hold the numbers of classes."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lightning_modules.data.segmentation.palette import VOID, Colour
from ops import ArgumentError


def to_classes(picture: Image.Image, colours: Sequence[Colour], void: Sequence[Colour] = ()) -> Image.Image:
    """Return a palette image that looks like ``picture``, and whose values are the numbers of classes.

    Saved as PNG, it is a mask that :class:`~lightning_modules.data.SegmentationData` reads.

    Args:
        picture: An opened mask in colours.
        colours: The colour of each class, in order, as red, green and blue from 0 to 255.
        void: Colours of pixels that have no class; they become 255.

    Raises:
        ArgumentError: The picture has another colour: one that was smoothed at an edge, say, or changed by JPEG.

    Example:
        >>> mask = to_classes(Image.new("RGB", (2, 1), (128, 0, 0)), [(0, 0, 0), (128, 0, 0)])
        >>> np.asarray(mask).tolist()
        [[1, 1]]
    """
    weights = np.array([1 << 16, 1 << 8, 1])
    numbers = {int(np.dot(colour, weights)): i for i, colour in enumerate(colours)}
    numbers |= {int(np.dot(colour, weights)): VOID for colour in void}
    pixels = np.asarray(picture.convert("RGB")).astype(np.int64) @ weights
    there, place, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    for code, count in zip(there.tolist(), counts):
        if code not in numbers:
            colour = code >> 16, code >> 8 & 255, code & 255
            got = f"the colour {colour} ({count:,} of {pixels.size:,} pixels)"
            raise ArgumentError("picture", got, "only the colours of classes and of void")
    values = np.array([numbers[code] for code in there.tolist()], np.uint8)[place].reshape(pixels.shape)
    mask = Image.fromarray(values)
    palette = [channel for colour in colours for channel in colour]
    if void:
        palette += [0] * (3 * VOID - len(palette)) + list(void[0])
    mask.putpalette(palette)
    return mask
