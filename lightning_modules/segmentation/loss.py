"""The loss of a segmentation: cross-entropy of the pixels that have a class."""

import torch
from torch import Tensor
from torch.nn import functional as F


def pixel_loss(logits: Tensor, masks: Tensor, ignore_index: int, weight: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of the pixels that have a class; 0 where none has one.

    It is computed in float32 at least: the sum over a batch's pixels is beyond the numbers of float16.

    Args:
        logits: ``(B, num_classes, H, W)``.
        masks: Classes ``(B, H, W)``.
        ignore_index: The label of pixels that have none.
        weight: Weight of each class, ``(num_classes,)``; the mean is then a weighted one, as PyTorch's.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weight = None if weight is None else weight.to(logits)
    total = F.cross_entropy(logits, masks, weight, ignore_index=ignore_index, reduction="sum")
    counted = masks != ignore_index
    if weight is None:
        return total / counted.sum().clamp(min=1)
    share = weight[masks.where(counted, 0)] * counted
    return total / share.sum().clamp(min=weight[weight > 0].min())  # the least that a pixel can count
