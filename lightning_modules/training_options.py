"""Groups of training settings: what timm's optimiser, scheduler and mixing factories take, checked early."""

import re
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from torch import nn
from torch.optim import Optimizer

from ops import ArgumentError, unknown_name

SCHEDULES = ("none", "constant", "cosine", "tanh", "step", "multistep", "poly")


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimiser, built by ``timm.optim.create_optimizer_v2``.

    Args:
        opt: timm's name. ``momentum`` is plain SGD with momentum, ``sgd`` is SGD with Nesterov momentum.
        lr: Learning rate at the start of the schedule, per optimiser step.
        momentum: Momentum of the SGD family.
        weight_decay: Weight decay.
        filter_bias_and_bn: Exempt biases, normalisation and the parameters that the model lists from weight decay.
        layer_decay: Factor by which the learning rate falls per layer towards the input; none by default.
        kwargs: Further arguments of the optimiser, such as ``betas``.
        groups: Options for some of the parameters, such as ``{"\\\\.shift$": {"weight_decay": 1.0e-5}}``: each regular
            expression is searched for in the names of the network's parameters, and its options replace those above.
            The first expression that matches decides; options that it does not name stay as above, or as
            ``filter_bias_and_bn`` and ``layer_decay`` set them. Every learning rate follows the schedule.

    Raises:
        ArgumentError: An unknown name, a value out of range, or an expression or option of ``groups`` that is not one.
    """

    opt: str = "momentum"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    filter_bias_and_bn: bool = True
    layer_decay: float | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = list_optimizers()
        if self.opt.lower() not in known:
            raise unknown_name("model.optimizer.opt", self.opt, known, listing="a name of timm.optim.list_optimizers()")
        if not self.lr > 0:
            raise ArgumentError("model.optimizer.lr", self.lr, "a positive number")
        if self.kwargs:
            self._check_kwargs()
        if not isinstance(self.groups, dict):
            need = "options for each regular expression, such as {'bias$': {'weight_decay': 0.0}}"
            raise ArgumentError("model.optimizer.groups", repr(self.groups), need)
        for pattern, options in self.groups.items():
            self._check_group(pattern, options)

    def _check_kwargs(self) -> None:
        if not isinstance(self.kwargs, dict):
            raise ArgumentError("model.optimizer.kwargs", repr(self.kwargs), "options by name, such as {'eps': 1e-6}")
        for name in self.kwargs:
            if name in {option.name for option in fields(self)}:
                sentence = f"{name!r} has an option of its own, model.optimizer.{name}"
                raise ArgumentError("model.optimizer.kwargs", sentence=sentence)
        try:
            self._try_options({})
        except (TypeError, ValueError) as error:
            need = f"arguments that {self.opt!r} can use"
            raise ArgumentError("model.optimizer.kwargs", f"{self.kwargs} ({error})", need) from error

    def _check_group(self, pattern: str, options: dict[str, Any]) -> None:
        argument = f"model.optimizer.groups[{pattern!r}]"
        if not isinstance(options, dict):
            raise ArgumentError(argument, repr(options), "options by name, such as {'weight_decay': 0.0}")
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ArgumentError(argument, f"{pattern!r} ({error})", "a regular expression") from error
        known = self._try_options({}).defaults
        for name in options:
            if name not in known:
                raise unknown_name(argument, name, known)
        if not options or any(value is None and known[name] is not None for name, value in options.items()):
            raise ArgumentError(argument, options, f"a value for one or more of {', '.join(sorted(known))}")
        try:
            self._try_options(options)
        except (TypeError, ValueError) as error:
            raise ArgumentError(argument, f"{options} ({error})", f"values that {self.opt!r} can use") from error

    def _try_options(self, options: dict[str, Any]) -> Optimizer:
        """Build the optimiser for one parameter of its own: it knows what it takes, and checks it."""
        own = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay, **self.kwargs}
        return create_optimizer_v2([nn.Parameter(torch.zeros(2, 2))], opt=self.opt, **{**own, **options})


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate over the training, built by ``timm.scheduler.create_scheduler_v2``.

    Args:
        sched: One of none, constant, cosine, tanh, step, multistep, poly.
        per_update: Change the learning rate after every optimiser step rather than every epoch.
        warmup_epochs: Epochs of linear warm-up.
        warmup_lr: Learning rate at the start of the warm-up.
        min_lr: Learning rate at the end (cosine, tanh, poly).
        decay_epochs: Epochs between two decays (step).
        decay_milestones: Epochs, counted from 0, at whose start the learning rate drops (multistep).
        decay_rate: Factor of a decay (step, multistep), or the power (poly).
    """

    sched: str = "cosine"
    per_update: bool = False
    warmup_epochs: int = 0
    warmup_lr: float = 1e-5
    min_lr: float = 0.0
    decay_epochs: int = 30
    decay_milestones: list[int] = field(default_factory=lambda: [30, 60, 90])
    decay_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.sched not in SCHEDULES:
            raise unknown_name("model.schedule.sched", self.sched, SCHEDULES)


@dataclass(frozen=True)
class RegularizationSettings:
    """Soft targets and mixed images, by ``timm.data.Mixup``.

    Args:
        label_smoothing: Share of the target spread over all classes.
        mixup: Alpha of mixup; 0 turns it off.
        cutmix: Alpha of CutMix; 0 turns it off.
        mix_prob: Probability that a batch is mixed.
    """

    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "mix_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"model.regularization.{name}", getattr(self, name), "a number from 0 to 1")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"model.regularization.{name}", getattr(self, name), "0 (off) or a positive alpha")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return self.mixup > 0 or self.cutmix > 0
