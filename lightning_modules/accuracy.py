"""Accuracy that an unusable network cannot have by chance."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy


def refuse_not_finite(logits: Tensor, labels: Tensor) -> Tensor:
    """Return logits ``(B, classes)`` in which rows whose largest one is NaN or infinite rank the label ``(B,)`` last.

    The largest of NaNs would be the first class, whose images such a network would then get right.
    """
    wrong = torch.zeros_like(logits).scatter(1, labels[:, None], -1.0)
    return torch.where(logits.amax(1, keepdim=True).isfinite(), logits, wrong)


class Accuracy(MulticlassAccuracy):
    """Top-k accuracy over all images, where logits that are not finite are wrong whatever the label.

    Args:
        num_classes: Number of classes.
        top_k: A label among so many of the largest logits is right; less than ``num_classes``.
    """

    def __init__(self, num_classes: int, top_k: int = 1):
        super().__init__(num_classes, top_k=top_k, average="micro")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch of logits ``(B, classes)`` and labels ``(B,)``."""
        super().update(refuse_not_finite(preds, target), target)
