"""The shapes that benchmarks run over, and means over them."""

import math
from collections.abc import Iterable

from ops import unknown_name

Shape = tuple[int, int, int]

MOBILENETV2_32: tuple[Shape, ...] = (
    *((32, 32, 1), (96, 32, 1), (144, 32, 1), (144, 32, 2), (192, 16, 1), (192, 16, 1), (192, 16, 2)),
    *((384, 8, 1), (384, 8, 1), (384, 8, 1), (384, 8, 1), (576, 8, 1), (576, 8, 1), (576, 8, 2)),
    *((960, 4, 1), (960, 4, 1), (960, 4, 1)),
)
"""Channels, height (pixels) and stride of MobileNetV2's seventeen depthwise convolutions on 32x32 images.

Its kernels are 3x3; a benchmark may ask for others on the same features (see :func:`same_padding`).
"""

MOBILENETV2_224: tuple[Shape, ...] = (
    *((32, 112, 1), (96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 1), (192, 28, 2)),
    *((384, 14, 1), (384, 14, 1), (384, 14, 1), (384, 14, 1), (576, 14, 1), (576, 14, 1), (576, 14, 2)),
    *((960, 7, 1), (960, 7, 1), (960, 7, 1)),
)
"""The same for 224x224 images (ImageNet form)."""

REPORT: tuple[Shape, ...] = ((128, 32, 1), (128, 256, 1), (128, 512, 1))
"""Inputs of the DYC report's Table 4: 32, 256 and 512 pixels, batch 1, forward.

The table does not print the channels; 128 with 3x3 kernels at stride 1 is our guess. It times whole layers, attention
included, as ``dyc bench layers`` does.
"""

SHAPES = {"mobilenetv2_32": MOBILENETV2_32, "mobilenetv2_224": MOBILENETV2_224, "report": REPORT}
SHAPE_BATCHES = {"mobilenetv2_32": (1, 32), "mobilenetv2_224": (1, 32), "report": (1,)}
"""The batch sizes of each list unless others are asked for."""


def same_padding(kernel: int, dilation: int) -> int:
    """Return the zero padding in pixels with which ``H'`` is ``H / stride``, rounded up, for an odd kernel.

    Example:
        >>> same_padding(5, 2)
        4
    """
    return dilation * (kernel - 1) // 2


def unique_shapes(name: str) -> tuple[Shape, ...]:
    """Return the shapes of a list, each once; raise :class:`ops.ArgumentError` for an unknown list."""
    if name not in SHAPES:
        raise unknown_name("shapes", name, SHAPES)
    return tuple(dict.fromkeys(SHAPES[name]))


def geometric_mean(name: str, values: Iterable[tuple[Shape, float]]) -> float:
    """Return the geometric mean of one value per shape, each as often as the network of that list holds the shape.

    Example:
        >>> round(geometric_mean("mobilenetv2_32", [((384, 8, 1), 2.0), ((960, 4, 1), 2.0)]), 6)
        2.0
    """
    weighted = [(SHAPES[name].count(shape), math.log(value)) for shape, value in values]
    return math.exp(sum(count * log for count, log in weighted) / sum(count for count, _ in weighted))
