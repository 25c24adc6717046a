"""A training whose loss is no longer a number ends, instead of going on for days."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ops import ArgumentError


class LossNotFinite(ArgumentError):
    """The loss or a weight became NaN or infinite."""

    on_every_process = True
    """All processes raise it together, so that one of them may speak for all."""


class FiniteLoss(Callback):
    """End the training with an error when the loss of a batch or of a validation, or a weight, is NaN or infinite.

    On the CPU each batch is looked at at once. Other devices would have to be waited for: there the batches are looked
    at together, every ``every`` batches and at the end of an epoch. All processes end together. Gradients of
    ``16-mixed`` may be infinite now and then; the scaler leaves out these steps, and their loss is finite.

    Args:
        every: Batches between two looks on devices other than the CPU.

    Raises:
        LossNotFinite: The loss or a weight is not finite; names the place, learning rate, precision and clipping.
    """

    def __init__(self, every: int = 50):
        self.every = every
        self._losses: list[Tensor] = []
        self._next = 0  # number of the batch after those that were kept

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget another training."""
        self._losses = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at those that were kept when it is time."""
        self._losses.append(outputs["loss"])
        self._next = batch_idx + 1
        if pl_module.device.type == "cpu" or len(self._losses) >= self.every or trainer.is_last_batch:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        # A mean over the processes is finite only where all of them are.
        losses, self._losses = trainer.strategy.reduce(torch.stack(self._losses), reduce_op="mean"), []
        wrong = (~losses.isfinite()).nonzero().flatten().tolist()
        if wrong:
            number = self._next + 1 - len(losses) + wrong[0]
            raise _error(trainer, "training", losses[wrong[0]], f"batch {number} of epoch {trainer.current_epoch + 1}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loss of the validation: the last step may have spoilt the weights."""
        loss = trainer.callback_metrics.get("val/loss")
        fits = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fits and loss is not None and not loss.isfinite():
            raise _error(trainer, "validation", loss, f"epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the losses that are left and at the weights, before checkpoints are written.

        Losses are left where ``max_steps``, say, ends an epoch before its last batch, and no validation may follow.
        """
        if self._losses:
            self._look(trainer)
        finite = torch.stack([p.isfinite().all() for p in pl_module.parameters()]).all()
        if not trainer.strategy.reduce(finite.float(), reduce_op="mean").eq(1):
            weights = f"weights are not finite after epoch {trainer.current_epoch + 1}"
            raise LossNotFinite("model.optimizer.lr", sentence=f"{weights}; {_advice(trainer)}")


def _error(trainer: Trainer, kind: str, loss: Tensor, where: str) -> LossNotFinite:
    sentence = f"the {kind} loss is {loss.item():g} in {where}; {_advice(trainer)}"
    return LossNotFinite("model.optimizer.lr", sentence=sentence)


def _advice(trainer: Trainer) -> str:
    rate = max(group.get("initial_lr", group["lr"]) for group in trainer.optimizers[0].param_groups)
    clipping = "is off" if trainer.gradient_clip_val is None else f"is {trainer.gradient_clip_val:g}"
    lower, clip = f"lower the learning rate ({rate:g})", f"clip gradients (trainer.gradient_clip_val {clipping})"
    if "16" in str(trainer.precision):
        return f"{lower}, {clip}, or use another trainer.precision than {trainer.precision}"
    return f"{lower} or {clip}"
