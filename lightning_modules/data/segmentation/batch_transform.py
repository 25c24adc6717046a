"""What happens to a whole batch of images and masks on the device that trains; each pair has its own random numbers.

The windows of images are resampled by two matrix products, along the columns and along the rows. A row of a matrix has
the weights of the pixels that make up one new pixel, as the antialiased ``resize`` of torchvision has them.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lightning_modules.data.segmentation.windows import Size, draw_windows


def resampling(start: Tensor, length: Tensor, source: int, target: int, widest: float) -> Tensor:
    """Return the matrices that resample windows of one axis; what lies beyond the image counts as zero.

    Args:
        start: The first pixel of each window, ``(B,)``.
        length: The number of its pixels, ``(B,)``.
        source: Number of pixels of the image along this axis.
        target: Number of pixels that each window becomes.
        widest: The largest ratio of a window's length to ``target``.

    Returns:
        ``(B, target, source)``, float.
    """
    centre, ratio = _centres(start, length, target)
    reach = ratio.clamp(min=1)  # to magnify, the two nearest pixels; to shrink, all that the new one covers
    taps = torch.arange(2 * math.ceil(max(1.0, widest)) + 2, device=start.device)
    place = (centre - 0.5 - reach).floor()[..., None] + taps  # (B, target, taps)
    weight = (1 - (place + 0.5 - centre[..., None]).abs() / reach[..., None]).clamp(min=0)
    first = start[:, None, None]
    weight = weight * ((place >= first) & (place < first + length[:, None, None]))
    weight = weight / weight.sum(-1, keepdim=True) * ((place >= 0) & (place < source))
    matrix = torch.zeros(len(start), target, source, device=start.device)
    return matrix.scatter_add_(2, place.long().clamp(0, source - 1), weight)


def nearest(start: Tensor, length: Tensor, target: int) -> Tensor:
    """Return which pixel of the image is nearest to each new pixel, ``(B, target)``; it may lie beyond the image."""
    return _centres(start, length, target)[0].floor().long()


def _centres(start: Tensor, length: Tensor, target: int) -> tuple[Tensor, Tensor]:
    ratio = (length.float() / target)[:, None]
    return start[:, None] + (torch.arange(target, device=start.device) + 0.5) * ratio, ratio


def random_windows(
    images: Tensor, masks: Tensor, crop: Size, *, scale: tuple[float, float], hflip: float, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Rescale, crop and mirror each image ``(B, 3, H, W)``, float, and mask ``(B, H, W)`` at random.

    Args:
        images: The images; zero is the colour of what lies beyond them.
        masks: The masks.
        crop: Height and width of what is returned.
        scale: The smallest and the largest factor of the rescaling.
        hflip: Probability that a pair is mirrored left to right.
        ignore_index: Label of what lies beyond the masks.
    """
    windows = draw_windows(len(images), tuple(masks.shape[1:]), crop, scale, images.device)
    flip = torch.rand(len(images), device=images.device) < hflip
    widest = 1 / scale[0] + 0.5 / min(crop)  # a window's sides are rounded
    return take_windows(images, masks, windows, flip, crop, ignore_index, widest)


def take_windows(
    images: Tensor, masks: Tensor, windows: Tensor, flip: Tensor, crop: Size, ignore_index: int, widest: float
) -> tuple[Tensor, Tensor]:
    """Resize a window of each image and mask to one size, and mirror some.

    Args:
        images: ``(B, 3, H, W)``, float; zero is the colour of what lies beyond them.
        masks: ``(B, H, W)``.
        windows: Top, left, height and width, ``(B, 4)``, int64.
        flip: Which of them are mirrored, ``(B,)``, bool.
        crop: Height and width of what is returned.
        ignore_index: Label of what lies beyond the masks.
        widest: The largest ratio of a window's side to that of ``crop``.

    Returns:
        The images ``(B, 3, *crop)`` in channels_last, and the masks ``(B, *crop)``.
    """
    top, left, height, width = windows.unbind(1)
    rows = resampling(top, height, images.shape[2], crop[0], widest)
    columns = resampling(left, width, images.shape[3], crop[1], widest)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    images = rows[:, None] @ images @ columns.mT[:, None]
    down, right = nearest(top, height, crop[0]), nearest(left, width, crop[1])
    right = torch.where(flip[:, None], right.flip(1), right)
    count, (tall, wide) = torch.arange(len(masks), device=masks.device), masks.shape[1:]
    labels = masks[count[:, None, None], down.clamp(0, tall - 1)[:, :, None], right.clamp(0, wide - 1)[:, None]]
    beyond = ((down < 0) | (down >= tall))[:, :, None] | ((right < 0) | (right >= wide))[:, None]
    return images.contiguous(memory_format=torch.channels_last), labels.masked_fill(beyond, ignore_index)


def jitter_colours(images: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of each image ``(B, 3, H, W)``, uint8, by factors around 1.

    Args:
        images: The images.
        strength: The factors are drawn from ``1 - strength`` to ``1 + strength``, and are never below 0.
    """
    if strength == 0:
        return images
    factors = torch.empty(3, len(images), 1, 1, 1, device=images.device)
    brightness, contrast, saturation = factors.uniform_(max(0.0, 1 - strength), 1 + strength)
    bright = (images * brightness).clamp_(0, 255)
    mean = F.rgb_to_grayscale(bright).mean((1, 2, 3), keepdim=True)
    contrasted = torch.lerp(mean, bright, contrast).clamp_(0, 255)
    grey = F.rgb_to_grayscale(contrasted)
    return torch.lerp(grey, contrasted, saturation).round_().clamp_(0, 255).byte()
