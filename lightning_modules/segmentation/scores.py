"""How good a segmentation is: intersection over union of each class, their mean, and the share of right pixels."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix


class PixelScores(MulticlassConfusionMatrix):
    """The confusion matrix of all pixels that have a class, and what follows from it.

    Pixels whose logits are not finite are wrong, whatever their class: the largest of NaNs would be the first class.

    Args:
        num_classes: Number of classes.
        options: Those of torchmetrics, such as ``sync_on_compute``.
    """

    def __init__(self, num_classes: int, **options: Any):
        super().__init__(num_classes, validate_args=False, **options)

    def update(self, logits: Tensor, masks: Tensor, ignore_index: int) -> None:
        """Count a batch.

        Args:
            logits: ``(B, num_classes, H, W)``.
            masks: Classes ``(B, H, W)``.
            ignore_index: The label of pixels that are not counted.
        """
        largest, predicted = logits.max(1)
        predicted = torch.where(largest.isfinite(), predicted, (masks + 1) % self.num_classes)
        counted = masks != ignore_index
        super().update(predicted[counted], masks[counted])

    def compute(self) -> dict[str, Tensor]:
        """Return ``miou``, ``pixel_accuracy`` and ``iou``, shares from 0 to 1.

        ``iou`` ``(num_classes,)`` is NaN for a class that is neither in the masks nor predicted anywhere, and ``miou``
        is the mean of the others. A class that is in the masks and never predicted counts as 0, and so does one that is
        only predicted.
        """
        matrix = self.confmat.double()  # float32 counts no further than 16.7 million pixels
        right = matrix.diagonal()
        iou = right / (matrix.sum(0) + matrix.sum(1) - right)
        found = {"miou": iou.nanmean(), "pixel_accuracy": right.sum() / matrix.sum()}
        return {**{name: value.float() for name, value in found.items()}, "iou": iou.float()}
