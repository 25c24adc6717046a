"""What happens to an image and its mask alike, one pair after the other: torchvision's transforms."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from lightning_modules.data.segmentation.batch_transform import jitter_colours
from lightning_modules.data.segmentation.windows import Size, draw_windows


def as_tensors(image: Image.Image, labels: np.ndarray) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Return an image and its labels as what torchvision's transforms tell apart."""
    return tv_tensors.Image(F.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(labels))


def resize(pixels: Tensor, size: Size) -> Tensor:
    """Resize an image, antialiased, or a mask, to the labels of the nearest pixels.

    torchvision's own ``resize`` takes the pixels of a mask half a pixel further up and left than those of its image.
    """
    if pixels.shape[-2:] == size:
        return pixels
    if not isinstance(pixels, tv_tensors.Mask):
        return F.resize(pixels, list(size), antialias=True)
    plain = F.resize(pixels.as_subclass(Tensor)[None], list(size), InterpolationMode.NEAREST_EXACT)[0]
    return tv_tensors.wrap(plain, like=pixels)


class Resize(v2.Transform):
    """Resize images and masks to ``(height, width)``."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one of them."""
        return resize(inpt, self.size)


class RandomWindow(v2.Transform):
    """Rescale images and masks by a random factor, crop them at a random place, and change the colours of images.

    Args:
        crop: Height and width of what is returned.
        scale: The smallest and the largest factor.
        colour: What lies beyond the image, ``(r, g, b)`` from 0 to 255.
        label: What lies beyond the mask.
        jitter: How far colours are changed; what lies beyond the image keeps its own.
    """

    def __init__(
        self, crop: Size, scale: tuple[float, float], colour: tuple[float, ...], label: int, jitter: float = 0.0
    ):
        super().__init__()
        self.crop, self.scale, self.jitter = crop, scale, jitter
        self.fill = {tv_tensors.Image: list(colour), tv_tensors.Mask: label}

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window."""
        size = tuple(F.get_size(flat_inputs[0]))
        return {"window": draw_windows(1, size, self.crop, self.scale)[0].tolist()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut the window out of one of them, and resize it."""
        top, left, height, width = params["window"]
        rows, columns = F.get_size(inpt)
        above, before = max(-top, 0), max(-left, 0)
        below, after = max(top + height - rows, 0), max(left + width - columns, 0)
        inside = F.crop(inpt, top + above, left + before, height - above - below, width - before - after)
        if isinstance(inpt, tv_tensors.Image):
            inside = tv_tensors.wrap(jitter_colours(inside[None], self.jitter)[0], like=inpt)
        if any((above, before, below, after)):
            inside = F.pad(inside, [before, above, after, below], fill=self.fill[type(inpt)])
        return resize(inside, self.crop)


def plain(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as plain tensors, which collate into batches."""
    return image.as_subclass(Tensor), mask.as_subclass(Tensor)


def training_transform(window: RandomWindow, hflip: float) -> v2.Compose:
    """Return what a pair goes through in training."""
    return v2.Compose([window, v2.RandomHorizontalFlip(hflip), plain])


def evaluation_transform(size: Size | None) -> v2.Compose:
    """Return what a pair goes through in evaluation; without a size, it is left as it is."""
    return v2.Compose([*([] if size is None else [Resize(size)]), plain])
