"""Is the attention alive? Its temperature, entropy and variation, logged once per epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dyc import attention_statistics
from dyc.dynamic_model import iter_temperatures


class AttentionMonitor(Callback):
    """Log how every dynamic layer attends to one fixed batch of validation images, after each validation.

    Logs ``attention/temperature``, ``attention/entropy`` and ``attention/variation`` (means over the layers), and
    ``attention/entropy/LAYER``. An entropy of 1 is uniform attention, 0 is one kernel; a variation of 0 means that
    the input is ignored (see :class:`dyc.analysis.AttentionStatistics`). A static network logs nothing.

    Args:
        images: Number of images to look at.
    """

    def __init__(self, images: int = 64):
        self.images = images
        self._sample: Tensor | None = None

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the first images."""
        if batch_idx == 0 and dataloader_idx == 0:
            self._sample = batch[0][: self.images]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log."""
        sample, self._sample = self._sample, None
        if trainer.sanity_checking or sample is None:
            return
        with trainer.precision_plugin.val_step_context():
            found = attention_statistics(pl_module.evaluated, sample)
        if not found:
            return
        values = {f"attention/entropy/{name}": layer.entropy for name, layer in found.items()}
        values["attention/entropy"] = sum(layer.entropy for layer in found.values()) / len(found)
        values["attention/variation"] = sum(layer.variation for layer in found.values()) / len(found)
        temperatures = [t.item() for t in iter_temperatures(pl_module.evaluated)]
        if temperatures:
            values["attention/temperature"] = sum(temperatures) / len(temperatures)
        pl_module.log_dict(values, rank_zero_only=True)
