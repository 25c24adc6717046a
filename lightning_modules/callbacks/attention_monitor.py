"""Is the attention alive? Its temperature, entropy and variation, logged once per epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from dyc import attention_statistics
from dyc.analysis import AttentionStatistics
from dyc.dynamic_model import iter_temperatures
from lightning_modules.callbacks.temperature import TemperatureAnnealing


class AttentionMonitor(Callback):
    """Log how every dynamic layer attends to one fixed batch of validation images, after each validation.

    Logs ``attention/temperature``, ``attention/entropy`` and ``attention/variation`` (means over the layers), and
    ``attention/entropy/LAYER``. An entropy of 1 is uniform attention, 0 is one kernel; a variation of 0 means that
    the input is ignored (see :class:`dyc.analysis.AttentionStatistics`). A static network logs nothing.
    When training starts, a warning tells of a temperature above 1 without :class:`TemperatureAnnealing`.

    Args:
        images: Number of images to look at.
    """

    def __init__(self, images: int = 64):
        self.images = images
        self.found: dict[str, AttentionStatistics] = {}
        """What the last validation found, by layer."""
        self._sample: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of a temperature at which all kernels get nearly the same weight, and that nothing lowers."""
        highest = max((t.item() for t in iter_temperatures(pl_module)), default=1.0)
        if highest > 1 and not any(isinstance(each, TemperatureAnnealing) for each in trainer.callbacks):
            rank_zero_warn(
                f"the softmax temperature starts at {highest:g}, where attention is nearly uniform, and stays there "
                "unless you lower it: --trainer.callbacks+=lightning_modules.TemperatureAnnealing"
            )

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
        self.found = found
        if not found:
            return
        values = {f"attention/entropy/{name}": layer.entropy for name, layer in found.items()}
        values["attention/entropy"] = sum(layer.entropy for layer in found.values()) / len(found)
        values["attention/variation"] = sum(layer.variation for layer in found.values()) / len(found)
        temperatures = [t.item() for t in iter_temperatures(pl_module.evaluated)]
        if temperatures:
            values["attention/temperature"] = sum(temperatures) / len(temperatures)
        pl_module.log_dict(values, rank_zero_only=True)
