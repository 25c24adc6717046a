"""Segment images by windows, at several sizes and mirrored."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.segmentation.settings import EvaluationSettings

Network = Callable[[Tensor], Tensor]


def segment(net: Network, images: Tensor, settings: EvaluationSettings) -> Tensor:
    """Return logits ``(B, num_classes, H, W)`` of images ``(B, C, H, W)``.

    Several views give the logarithm of their mean probability.

    Args:
        net: From images of any size to logits of that size.
        images: The images.
        settings: How.
    """
    if settings.plain:
        return net(images)
    total: Tensor | float = 0.0
    for scale in settings.scales:
        size = [max(1, round(side * scale)) for side in images.shape[-2:]]
        scaled = images if scale == 1 else _resized(images, size)
        for flipped in (False, True) if settings.flip else (False,):
            view = scaled.flip(-1) if flipped else scaled
            found = by_windows(net, view, settings.window_size, settings.overlap)
            found = found.flip(-1) if flipped else found
            total = total + F.interpolate(found, images.shape[-2:], mode="bilinear", align_corners=False)
    views = len(settings.scales) * (2 if settings.flip else 1)
    # A probability may be 0 in float32; the least positive number keeps its logarithm finite, and NaN stays NaN.
    return (total / views).clamp(min=torch.finfo(torch.float32).tiny).log()


def _resized(images: Tensor, size: list[int]) -> Tensor:
    wide = images.to(torch.promote_types(images.dtype, torch.float32))  # CPUs resize no float16 with antialiasing
    return F.interpolate(wide, size, mode="bilinear", antialias=size[0] < images.shape[-2]).to(images)


def by_windows(net: Network, images: Tensor, window: tuple[int, int] | None, overlap: float) -> Tensor:
    """Return the probabilities ``(B, num_classes, H, W)`` of images, averaged over the windows that see a pixel.

    Args:
        net: From windows to logits.
        images: ``(B, C, H, W)``.
        window: Height and width of a window, at most the image's; None for the whole image.
        overlap: Share of a window that the next one overlaps.
    """
    sizes = images.shape[-2:]
    if window is None or all(side <= part for side, part in zip(sizes, window)):
        return net(images).float().softmax(1)
    height, width = (min(side, part) for side, part in zip(sizes, window))
    total = seen = None
    for top in _starts(sizes[0], height, overlap):
        for left in _starts(sizes[1], width, overlap):
            part = (..., slice(top, top + height), slice(left, left + width))
            found = net(images[part]).float().softmax(1)
            if total is None:
                total = found.new_zeros(*found.shape[:2], *sizes)
                seen = found.new_zeros(sizes)
            total[part] += found
            seen[part] += 1
    return total / seen


def _starts(side: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin: so far apart, the last one at the border.

    Example:
        >>> _starts(10, 4, 0.5), _starts(4, 4, 0.5)
        ([0, 2, 4, 6], [0])
    """
    step = max(1, round(window * (1 - overlap)))
    return [*range(0, side - window, step), side - window]
