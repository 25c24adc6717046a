"""Height and width of the images of a data module, whose ``image_size`` is one number where they are squares."""

from typing import Any


def image_shape(data: Any) -> tuple[int, int] | None:
    """Return height and width of the images that are evaluated, or if they differ of those trained on; None if unknown.

    Example:
        >>> from types import SimpleNamespace
        >>> image_shape(SimpleNamespace(image_size=32)), image_shape(SimpleNamespace(image_size=None, crop_size=(2, 3)))
        ((32, 32), (2, 3))
    """
    size = getattr(data, "image_size", None) or getattr(data, "crop_size", None)
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else tuple(size)


def shown(size: tuple[int, int]) -> str:
    """Return height and width as messages say them.

    Example:
        >>> shown((180, 240))
        '180 x 240'
    """
    return " x ".join(map(str, size))
