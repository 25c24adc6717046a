"""What the arguments of :class:`~lightning_modules.data.SegmentationData` may be, whatever the data."""

from collections.abc import Sequence

from lightning_modules.data.segmentation.mask_file import LARGEST
from lightning_modules.data.segmentation.palette import Colour
from lightning_modules.data.segmentation.windows import Size
from ops import ArgumentError


def as_size(name: str, value: int | Sequence[int] | None) -> Size | None:
    """Return a height and width, of which one number gives both.

    Raises:
        ArgumentError: There are more than two numbers, or one is below 1.
    """
    if value is None:
        return None
    size = (value, value) if isinstance(value, int) else tuple(value)
    if len(size) != 2 or min(size) < 1:
        raise ArgumentError(f"data.{name}", value, "height and width in pixels, or one number for both, at least 1")
    return size


def as_void(value: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the values that mean void.

    Raises:
        ArgumentError: One cannot be in a mask.
    """
    if value is None:
        return None
    values = (value,) if isinstance(value, int) else tuple(value)
    if not all(0 <= each <= LARGEST for each in values):
        raise ArgumentError("data.void", value, f"values of pixels, from 0 to {LARGEST}")
    return values


def as_palette(value: Sequence[Sequence[int]] | None) -> list[Colour] | None:
    """Return the colours of the classes.

    Raises:
        ArgumentError: One of them is not three numbers from 0 to 255.
    """
    if value is None:
        return None
    for colour in value:
        if len(colour) != 3 or not all(0 <= channel <= 255 for channel in colour):
            raise ArgumentError("data.palette", list(colour), "three numbers from 0 to 255 for each class")
    return [tuple(colour) for colour in value]
