"""Selective allocation of channels while training goes on: the rule of SelectConv."""

import os
from dataclasses import asdict
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from dyc import apply_rewiring, iter_selective, plan_rewiring, selective_layers
from dyc.selective.rewire_network import Rewiring
from dyc.selective.rules import check_rule
from lightning_modules.callbacks.rewiring_schedule import RewiringSchedule
from lightning_modules.resume import only_validation_left
from ops import ArgumentError, unknown_name

MODES = ("accuracy", "compression")


class ChannelRewiring(Callback):
    """Close channels that no output needs, and re-use them for shifted copies of important ones, between epochs.

    This happens when an epoch starts, so that a checkpoint holds the very network that was evaluated, and a resumed
    run goes on as if it had not stopped. The position in training alone decides which epochs these are, ``seed`` and
    the epoch alone what is drawn. The moving average of the weights, if there is one, is changed in the same way. Among
    several processes the first one decides.

    Logs ``channels/open``, ``channels/closed``, ``channels/reallocated`` and ``channels/parameters`` (those that open
    channels hold), each for the network and with ``/LAYER`` for every layer, and ``channels/newly_closed`` and
    ``channels/newly_reallocated``, what changed before this epoch.

    Args:
        mode: ``"accuracy"`` closes and re-uses channels, ``"compression"`` only closes them.
        gamma: Largest share of any output that a layer may lose; see :func:`dyc.selective.dealloc`.
        num_sources: How many of the most important channels are re-used (the publication's ``K``); without meaning in
            compression.
        max_uses: How often a channel may be read by others (``N_max``); None for no limit.
        soft_limit: Let ``max_uses`` be the soft limit of the authors' code, which channels can exceed: only those that
            exceed it already are not drawn. See :func:`dyc.selective.realloc`.
        until: When to stop: a share of the training up to 1.0, or from 2 on a number of epochs. The network of the
            epoch that reaches it is the last one that changes.
        every: Epochs between two changes.
        seed: Seed of the choices and shifts; by default that of ``seed_everything``, or 0, and in a resumed run the
            one that it began with.
        reset_momentum: Reset the optimiser's state of channels that are re-used. With False, as in the authors' code,
            the momentum from before a channel was closed still moves its new weights.

    Raises:
        ArgumentError: An argument is out of range; when training starts: the network has no selective layer, or
            ``until`` and ``every`` do not fit the length of the training. The length of a smoke test
            (``fast_dev_run``) is not checked.

    Source: Jeong and Shin, ICML 2019, http://proceedings.mlr.press/v97/jeong19c.html
    """

    def __init__(
        self,
        mode: Literal["accuracy", "compression"] = "accuracy",
        gamma: float = 1e-3,
        num_sources: int = 3,
        max_uses: int | None = None,
        until: int | float = 0.5,
        every: int = 1,
        seed: int | None = None,
        reset_momentum: bool = True,
        soft_limit: bool = False,
    ):
        if mode not in MODES:
            raise unknown_name("ChannelRewiring.mode", mode, MODES)
        try:
            check_rule(gamma, num_sources, max_uses, soft_limit)
        except ArgumentError as error:
            raise ArgumentError(f"ChannelRewiring.{error}") from error
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32):
            raise ArgumentError("ChannelRewiring.seed", repr(seed), "an int from 0 to 2**32 - 1, or None for the run's")
        if not isinstance(reset_momentum, bool):
            raise ArgumentError("ChannelRewiring.reset_momentum", repr(reset_momentum), "True or False")
        self.schedule = RewiringSchedule(until, every)
        self.mode, self.gamma, self.max_uses, self.until, self.every = mode, gamma, max_uses, until, every
        self.num_sources = 0 if mode == "compression" else num_sources
        self.seed, self.reset_momentum, self.soft_limit = seed, reset_momentum, soft_limit
        self._forget()

    def _forget(self) -> None:
        self._drawn_from = self.seed
        self._rewired: int | None = None  # the last epoch that started with a change
        self._newly = (0, 0)  # how many channels it closed and re-used
        self._logged: int | None = None  # the last epoch of which it was logged what the network is made of

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another training; what a checkpoint remembers is loaded after this."""
        self._forget()
        if self.seed is None:
            self._drawn_from = int(os.environ.get("PL_GLOBAL_SEED", 0))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rewired": self._rewired, "newly": list(self._newly), "settings": self._settings()}

    def _settings(self) -> dict[str, Any]:
        names = ("mode", "gamma", "num_sources", "max_uses", "soft_limit", "reset_momentum")
        return {**{name: getattr(self, name) for name in names}, **asdict(self.schedule), "seed": self._drawn_from}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept: an epoch that goes on in its middle is not changed twice.

        Warns if the settings are not those of the checkpoint.

        Raises:
            ArgumentError: It is not a state of this callback.
        """
        if "rewired" not in state_dict:
            sentence = "the checkpoint does not say in which epoch ChannelRewiring last changed the network"
            raise ArgumentError("ckpt_path", sentence=sentence)
        self._rewired = state_dict["rewired"]
        self._newly = tuple(state_dict.get("newly", (0, 0)))
        kept = state_dict.get("settings", {})  # checkpoints from before they were kept have none
        if self.seed is None:
            self._drawn_from = kept.get("seed", 0)
        own = self._settings()
        changed = [
            f"{name}={own[name]!r} (was {kept[name]!r})" for name in own if own[name] != kept.get(name, own[name])
        ]
        if changed:
            rank_zero_warn(f"ChannelRewiring goes on with other settings than the checkpoint: {', '.join(changed)}")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the rule fits the network and the length of the training."""
        layers = [layer for _, layer in iter_selective(pl_module.net)]
        name = getattr(pl_module, "model_name", type(pl_module.net).__name__)
        if not layers:
            raise ArgumentError(
                "model.model",
                f"{name!r}, which has no selective layer",
                "a selective network such as select_densenet40 for ChannelRewiring; dyc.make_selective converts others",
            )
        if self.num_sources and not any(layer.reallocates for layer in layers):
            raise ArgumentError(
                "ChannelRewiring.mode",
                f"'accuracy' for {name!r}, whose layers were made without re-allocation",
                "'compression', or a network made with reallocate=True",
            )
        self.schedule.check(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if steps end the training before the last change; how many an epoch has is known only now."""
        self.schedule.check_steps(trainer)
        if only_validation_left(trainer):  # no batch starts any more, at which this epoch would be logged
            self._log(trainer.current_epoch, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Change the network that the epoch before was evaluated with, and log what it is made of."""
        epoch = trainer.current_epoch
        if self.schedule.changes_before(epoch, trainer.max_epochs) and self._rewired != epoch:
            self._newly = self._rewire(trainer, pl_module)
            self._rewired = epoch
        self._log(epoch, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start an epoch that Lightning does not start: one that goes on in its middle, or after its last batch."""
        if self._logged != trainer.current_epoch:
            self.on_train_epoch_start(trainer, pl_module)

    def _log(self, epoch: int, pl_module: LightningModule) -> None:
        newly_closed, newly_reallocated = self._newly if self._rewired == epoch else (0, 0)
        table = selective_layers(pl_module.net)
        values = {"channels/newly_closed": newly_closed, "channels/newly_reallocated": newly_reallocated}
        values["channels/parameters"] = table.effective_parameters
        for count in ("open", "closed", "reallocated"):
            values[f"channels/{count}"] = getattr(table.total, count)
            values |= {f"channels/{count}/{row.name}": getattr(row, count) for row in table}
        values |= {f"channels/parameters/{row.name}": row.effective_parameters for row in table}
        values = {key: float(value) for key, value in values.items()}
        pl_module.log_dict(values, on_step=False, on_epoch=True, rank_zero_only=True)
        self._logged = epoch

    def _rewire(self, trainer: Trainer, pl_module: LightningModule) -> tuple[int, int]:
        """Return how many open channels were closed, and how many closed ones re-used."""
        net = pl_module.net
        plan: dict[str, Rewiring] | None = None
        if trainer.is_global_zero:
            generator = torch.Generator().manual_seed(self._drawn_from * 1_000_003 + trainer.current_epoch)
            rule = (self.gamma, self.num_sources, self.max_uses, generator)
            plan = plan_rewiring(net, *rule, soft_limit=self.soft_limit)
        plan = trainer.strategy.broadcast(plan)
        layers = dict(iter_selective(net))
        newly_closed = sum(int((change.closed & layers[name].mask.cpu()).sum()) for name, change in plan.items())
        shapes = self._shapes(net)
        apply_rewiring(net, plan, trainer.optimizers[0] if self.reset_momentum else None)
        if getattr(pl_module, "ema", None) is not None:
            apply_rewiring(pl_module.ema.module, plan)
        if net._compiled_call_impl is not None and self._shapes(net) != shapes:
            # Sizes are part of the code. Kept, the old code would add up to the number of recompilations after which
            # PyTorch runs a network uncompiled.
            torch.compiler.reset()
        return newly_closed, sum(len(change.reallocation.slots) for change in plan.values())

    @staticmethod
    def _shapes(net: torch.nn.Module) -> list[tuple[int, bool]]:
        """Return what a compiled network depends on."""
        return [(len(layer.slots), layer.conv.has_closed) for _, layer in iter_selective(net)]
