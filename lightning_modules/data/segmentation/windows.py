"""Which part of an image a training sees: a window of random size and place, which may reach beyond the image."""

import torch
from torch import Tensor

Size = tuple[int, int]


def draw_windows(
    count: int, size: Size, crop: Size, scale: tuple[float, float], device: torch.device | None = None
) -> Tensor:
    """Draw windows that are resized to ``crop`` afterwards: so does who resizes the image first and crops it then.

    Args:
        count: How many.
        size: Height and width of the images.
        crop: Height and width of what the windows become.
        scale: The smallest and the largest factor by which the images are resized; all are equally probable.
        device: Where the numbers are drawn.

    Returns:
        Top, left, height and width in pixels of the image, ``(count, 4)``, int64. A window that is smaller than the
        image lies inside it, and one that is larger has the image in it, both at any place.

    Example:
        >>> draw_windows(1, (6, 8), (6, 8), (1.0, 1.0)).tolist()
        [[0, 0, 6, 8]]
    """
    factor = torch.empty(count, 1, device=device).uniform_(*scale)
    sides = (torch.tensor(crop, device=device) / factor).round().clamp(min=1)
    spare = torch.tensor(size, device=device) - sides
    place = (torch.rand(count, 2, device=device) * (spare.abs() + 1)).floor() * spare.sign()
    return torch.cat((place, sides), 1).long()
