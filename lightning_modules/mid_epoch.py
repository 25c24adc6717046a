"""What a checkpoint of the middle of an epoch keeps, so that the rest is as in a run that never stopped.

Lightning keeps how many batches were trained, but not whether one of them still has to be validated, nor the figures
and gradients that an epoch adds up.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric

KEY = "running_epoch"
"""Key of a checkpoint: ``metrics`` and ``gradients`` of the epoch that runs."""


def keep_running_epoch(checkpoint: dict[str, Any], trainer: Trainer, net: LightningModule, **metrics: Metric) -> None:
    """Complete a checkpoint that is about to be written; one of a finished epoch is left as it is.

    Args:
        checkpoint: The checkpoint; changed.
        trainer: The trainer.
        net: The module whose parameters may have gradients that were not yet applied.
        metrics: What the epoch has measured so far, by name.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        return
    loops = checkpoint["loops"]["fit_loop"]
    epoch, batch = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
    if epoch["processed"] == epoch["started"] or batch["current"]["processed"] == 0:
        return
    _write_position(loops, trainer)

    def together(value: Tensor, how: str) -> Tensor:
        return trainer.strategy.reduce(value.detach().clone(), reduce_op=how)

    states = {name: metric.metric_state for name, metric in metrics.items()}
    kept = {name: {key: together(value, "sum") for key, value in state.items()} for name, state in states.items()}
    gradients = {}
    if trainer.fit_loop._should_accumulate():
        found = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
        gradients = {name: together(value, "mean") for name, value in found.items()}
    checkpoint[KEY] = {"metrics": kept, "gradients": gradients}


def restore_running_epoch(kept: dict[str, Any], trainer: Trainer, net: LightningModule, **metrics: Metric) -> None:
    """Take over what :func:`keep_running_epoch` has kept, when the training goes on.

    Sums over all processes become those of the first one.
    """
    for name, states in kept["metrics"].items():
        metric = metrics[name]
        for key, value in states.items():
            value = value.to(net.device)
            setattr(metric, key, value if trainer.is_global_zero else torch.zeros_like(value))
        metric._update_count = 1  # without which torchmetrics warns that it has seen nothing
    parameters = dict(net.named_parameters())
    for name, gradient in kept["gradients"].items():
        parameters[name].grad = gradient.to(parameters[name])


def _write_position(loops: dict[str, Any], trainer: Trainer) -> None:
    """Let the state of the loops say: these batches are trained, and the last one is validated, or has yet to be.

    Lightning takes the validation that follows a batch for done, and the epoch for ended if it was the last one.
    """
    loop = trainer.fit_loop.epoch_loop
    batch, validation = loops["epoch_loop.batch_progress"], loops["epoch_loop.val_loop.batch_progress"]
    in_batch = batch["current"]["completed"] < batch["current"]["processed"]  # in on_train_batch_end
    due = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
    evaluated = validation["is_last_batch"] and validation["current"]["completed"] == validation["current"]["ready"]
    if due and (in_batch or (trainer.validating and not evaluated)):
        nothing = dict.fromkeys(validation["current"], 0)
        # What Lightning takes for a validation to go back to; it begins with the first batch.
        validation |= {"total": {**nothing, "ready": 1, "started": 1}, "current": nothing, "is_last_batch": False}
    else:
        validation["total"] = dict.fromkeys(validation["total"], validation["total"]["completed"])
    # Lightning counts this batch as a step of the logs when it goes on from a batch after which it validates.
    counted = not in_batch and not trainer.validating
    if not loop._should_accumulate():
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += int(not due) - counted
    for which in ("total", "current"):
        batch[which] |= dict.fromkeys(("ready", "started", "completed"), batch[which]["processed"])
