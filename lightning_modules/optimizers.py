"""Optimisers and learning rate schedules from the settings, by timm's factories."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from lightning_modules.training_options import OptimizerSettings, ScheduleSettings
from ops import ArgumentError


def build_optimizer(net: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """Build the optimiser of a network, with groups of parameters as timm and ``settings.groups`` make them.

    Warns if an expression of ``settings.groups`` decides about no parameter, as it may be misspelt. It is no error:
    one recipe may serve networks with and without the parameters that it names.
    """
    optimizer = create_optimizer_v2(
        net,
        opt=settings.opt,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        filter_bias_and_bn=settings.filter_bias_and_bn,
        layer_decay=settings.layer_decay,
        **settings.kwargs,
    )
    if settings.groups:
        # Dividing what timm made keeps its rules, such as the rates of layer_decay, for every option that is not named.
        optimizer.param_groups[:] = _divide(optimizer.param_groups, net, settings.groups)
    return optimizer


def _divide(made: Iterable[dict[str, Any]], net: nn.Module, groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return optimiser groups in which the parameters of each expression are on their own, with its options."""
    chosen = {
        id(parameter): next((pattern for pattern in groups if re.search(pattern, name)), None)
        for name, parameter in net.named_parameters()
    }
    divided: list[dict[str, Any]] = []
    used: set[str | None] = {None}
    for group in made:
        for pattern in (None, *groups):
            parameters = [p for p in group["params"] if chosen[id(p)] == pattern]
            if parameters:
                divided.append({**group, **(groups[pattern] if pattern is not None else {}), "params": parameters})
                used.add(pattern)
    for pattern in groups:
        if pattern not in used:
            rank_zero_warn(
                f"model.optimizer.groups: {pattern!r} matches no trained parameter that an earlier expression left; "
                f"their names are like {next(iter(net.named_parameters()))[0]!r}",
                category=UserWarning,
            )
    return divided


def build_schedule(optimizer: Optimizer, settings: ScheduleSettings, trainer: Trainer) -> dict[str, Any]:
    """Build the schedule of an optimiser's learning rates, each group's from its own, as Lightning expects it.

    Returns:
        ``{"lr_scheduler": ...}``, or an empty dict for the schedule ``none``.

    Raises:
        ArgumentError: The trainer has no last epoch.
    """
    if settings.sched == "none":
        return {}
    epochs = trainer.max_epochs
    if epochs is None or epochs < 1:
        raise ArgumentError("trainer.max_epochs", epochs, f"at least 1, as the {settings.sched} schedule needs it")
    options = {k: v for k, v in asdict(settings).items() if k != "per_update"}
    updates = -(-int(trainer.estimated_stepping_batches) // epochs) if settings.per_update else 0
    # timm decays one count before a milestone; PyTorch, and the papers' recipes, exactly at it.
    options["decay_milestones"] = [m + (1 / updates if updates else 1) for m in settings.decay_milestones]
    scheduler, _ = create_scheduler_v2(
        optimizer,
        num_epochs=epochs,
        step_on_epochs=not settings.per_update,
        updates_per_epoch=updates,
        **options,
    )
    return {"lr_scheduler": {"scheduler": scheduler, "interval": "step" if settings.per_update else "epoch"}}


def move_schedule(scheduler: Scheduler, settings: ScheduleSettings, steps: int, epochs: int) -> None:
    """Tell timm's scheduler, which counts from outside, how many optimiser steps and epochs are done."""
    if settings.per_update:
        scheduler.step_update(num_updates=steps)
    else:
        scheduler.step(epoch=epochs)
