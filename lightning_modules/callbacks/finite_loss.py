"""A training whose loss is no longer a number ends, instead of going on for days."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ops import ArgumentError


class FiniteLoss(Callback):
    """End the training with an error when the loss of a batch or of a validation, or a weight, is NaN or infinite.

    On the CPU each batch is looked at at once. Other devices would have to be waited for: there the batches are looked
    at together, every ``every`` batches and at the end of an epoch. All processes end together. Gradients of
    ``16-mixed`` may be infinite now and then; the scaler leaves out these steps, and their loss is finite.

    Args:
        every: Batches between two looks on devices other than the CPU.

    Raises:
        ArgumentError: The loss or a weight is not finite; names the place, learning rate, precision and clipping.
    """

    def __init__(self, every: int = 50):
        self.every = every
        self._losses: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget another training."""
        self._losses = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at those that were kept when it is time."""
        self._losses.append(outputs["loss"])
        if pl_module.device.type != "cpu" and len(self._losses) < self.every and not trainer.is_last_batch:
            return
        # A mean over the processes is finite only where all of them are.
        losses, self._losses = trainer.strategy.reduce(torch.stack(self._losses), reduce_op="mean"), []
        wrong = (~losses.isfinite()).nonzero().flatten().tolist()
        if wrong:
            number = batch_idx + 2 - len(losses) + wrong[0]
            raise _error(trainer, "training", losses[wrong[0]], f"batch {number} of epoch {trainer.current_epoch + 1}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loss of the validation: the last step may have spoilt the weights."""
        loss = trainer.callback_metrics.get("val/loss")
        fits = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fits and loss is not None and not loss.isfinite():
            raise _error(trainer, "validation", loss, f"epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights before checkpoints are written: no validation may follow the last step."""
        finite = torch.stack([p.isfinite().all() for p in pl_module.parameters()]).all()
        if not trainer.strategy.reduce(finite.float(), reduce_op="mean").eq(1):
            weights = f"weights are not finite after epoch {trainer.current_epoch + 1}"
            raise ArgumentError("model.optimizer.lr", sentence=f"{weights}; {_advice(trainer)}")


def _error(trainer: Trainer, kind: str, loss: Tensor, where: str) -> ArgumentError:
    sentence = f"the {kind} loss is {loss.item():g} in {where}; {_advice(trainer)}"
    return ArgumentError("model.optimizer.lr", sentence=sentence)


def _advice(trainer: Trainer) -> str:
    rate = max(group.get("initial_lr", group["lr"]) for group in trainer.optimizers[0].param_groups)
    clipping = "is off" if trainer.gradient_clip_val is None else f"is {trainer.gradient_clip_val:g}"
    return (
        f"lower the learning rate ({rate:g}), clip gradients (trainer.gradient_clip_val {clipping}), or use another "
        f"trainer.precision than {trainer.precision}"
    )
