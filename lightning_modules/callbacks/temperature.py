"""Annealing of the softmax temperature, without which dynamic convolution trains worse than static."""

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from dyc import set_temperature
from dyc.layers.attention import check_temperature
from lightning_modules.resume import batches_behind
from ops import ArgumentError


class TemperatureAnnealing(Callback):
    """Lower the temperature of every attention branch linearly over the first epochs, then keep it.

    At a high temperature the attention is nearly uniform, so that all kernels of a bank learn in early epochs.
    The temperature follows from the position in training alone and is stored in the network's buffers: a resumed
    run goes on where it stopped, and a static network is left alone.

    Args:
        start: Temperature at the first step.
        end: Temperature from epoch ``epochs`` on.
        epochs: Length of the annealing.
        per: ``"step"``: after t of T steps, ``start + (end - start) * t / T``; ``"epoch"``: constant within an epoch,
            ``end`` being reached in the last epoch of the annealing.

    Raises:
        ArgumentError: A temperature is not positive, or ``epochs`` is less than 1.

    Source: Chen et al., section 3.2, https://arxiv.org/abs/1912.03458 (30 to 1 over 10 epochs).
    """

    def __init__(self, start: float = 30.0, end: float = 1.0, epochs: int = 10, per: Literal["step", "epoch"] = "step"):
        self.start = check_temperature(start, "TemperatureAnnealing.start")
        self.end = check_temperature(end, "TemperatureAnnealing.end")
        if epochs < 1:
            raise ArgumentError("TemperatureAnnealing.epochs", epochs, "at least 1")
        if per not in ("step", "epoch"):
            raise ArgumentError("TemperatureAnnealing.per", repr(per), "'step' or 'epoch'")
        self.epochs, self.per = epochs, per

    def temperature(self, epochs_done: float) -> float:
        """Return the temperature after so many epochs (a fraction between epochs if ``per="step"``)."""
        if self.per == "epoch":
            span = max(1, self.epochs - 1)
            share = 1.0 if self.epochs == 1 else min(1.0, int(epochs_done) / span)
        else:
            share = min(1.0, epochs_done / self.epochs)
        return self.start + (self.end - self.start) * share

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the temperature of the position where training starts or goes on."""
        if self.per == "step" and trainer.num_training_batches == float("inf"):
            raise ArgumentError("TemperatureAnnealing.per", "'step' with data of unknown length", "'epoch'")
        done = trainer.current_epoch + batches_behind(trainer) / trainer.num_training_batches
        if set_temperature(pl_module, self.temperature(done)) == 0:
            return
        max_epochs = trainer.max_epochs
        if max_epochs is not None and 0 < max_epochs < self.epochs:
            rank_zero_warn(
                f"TemperatureAnnealing.epochs is {self.epochs}, but training ends after {max_epochs} epochs, at a "
                f"temperature of {self.temperature(max_epochs):.3g} instead of {self.end:g}"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Set the temperature of the next step, so that validation sees the one that the next step would use."""
        if self.per == "step" and trainer.current_epoch < self.epochs:
            done = trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
            set_temperature(pl_module, self.temperature(done))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the temperature of the epoch."""
        if self.per == "epoch":
            set_temperature(pl_module, self.temperature(trainer.current_epoch))
