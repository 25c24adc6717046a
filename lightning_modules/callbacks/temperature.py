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
        per: ``"step"``: after t of T steps, ``start + (end - start) * t / T``, so that ``end`` is reached after the
            last of them. The code of ODConv (https://github.com/OSVAI/ODConv) is one step ahead: it reaches 1 in the
            last step. ``"epoch"``: constant within an epoch, in equal steps to ``end`` in the last epoch of the
            annealing: 30, 26.78, 23.56, ..., 4.22, 1. ``"epoch_to_zero"``: constant within an epoch, on the line from
            ``start`` to 0 as far as it is above ``end``: 30, 27, 24, ..., 3 in ten epochs, and 1 in those that follow.

    Raises:
        ArgumentError: A temperature is not positive, ``epochs`` is less than 1, or ``per="epoch_to_zero"`` is to rise.

    Source: Chen et al., section 3.2, https://arxiv.org/abs/1912.03458: from 30 to 1 in the first 10 epochs. How is not
    said more precisely; ``"epoch"`` and ``"epoch_to_zero"`` are the two ways to do it once per epoch.
    """

    def __init__(
        self,
        start: float = 30.0,
        end: float = 1.0,
        epochs: int = 10,
        per: Literal["step", "epoch", "epoch_to_zero"] = "step",
    ):
        self.start = check_temperature(start, "TemperatureAnnealing.start")
        self.end = check_temperature(end, "TemperatureAnnealing.end")
        if epochs < 1:
            raise ArgumentError("TemperatureAnnealing.epochs", epochs, "at least 1")
        if per not in ("step", "epoch", "epoch_to_zero"):
            raise ArgumentError("TemperatureAnnealing.per", repr(per), "'step', 'epoch' or 'epoch_to_zero'")
        if per == "epoch_to_zero" and start < end:
            got = f"{per!r} from {start:g} to {end:g}"
            raise ArgumentError("TemperatureAnnealing.per", got, "'step' or 'epoch' for a temperature that rises")
        self.epochs, self.per = epochs, per

    def temperature(self, epochs_done: float) -> float:
        """Return the temperature after so many epochs (a fraction between epochs if ``per="step"``)."""
        if self.per == "epoch_to_zero":
            return max(self.end, self.start * (1 - int(epochs_done) / self.epochs))
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
        begun = batches_behind(trainer) / trainer.num_training_batches if self.per == "step" else 0.0
        done = trainer.current_epoch + begun
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
        if self.per != "step":
            set_temperature(pl_module, self.temperature(trainer.current_epoch))
