"""Mixed images and soft targets in training: the loss and timm's Mixup from the settings."""

from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import nn

from lightning_modules.training_options import RegularizationSettings
from ops import ArgumentError


def build_loss(settings: RegularizationSettings, num_classes: int) -> tuple[nn.Module, Mixup | None]:
    """Return the training loss, and what mixes a batch and makes its targets; None if images are not mixed."""
    if not settings.mixes:
        return nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing), None
    mix = Mixup(
        mixup_alpha=settings.mixup,
        cutmix_alpha=settings.cutmix,
        prob=settings.mix_prob,
        label_smoothing=settings.label_smoothing,
        num_classes=num_classes,
    )
    return SoftTargetCrossEntropy(), mix


def check_pairs(batch_size: int, samples: int, last: int | None = None) -> None:
    """Raise ArgumentError unless the images of every training batch can be paired, as mixup does.

    Args:
        batch_size: Samples per batch.
        samples: Samples of an epoch.
        last: Samples of its last batch, if it may be incomplete.
    """
    if min(batch_size, samples) % 2:
        raise ArgumentError(
            "data.batch_size",
            f"{batch_size} for {samples} samples",
            "an even number no larger than the number of samples, as mixup pairs the images of a batch",
        )
    if last is not None and last % 2:
        need = "True, as mixup pairs the images of a batch"
        raise ArgumentError("data.drop_last", f"False with a last batch of {last} samples", need)
