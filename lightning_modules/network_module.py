"""What training a network has in common whatever its task: its making, optimiser, schedule, average, checkpoints."""

from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dyc.dynamic_model import iter_temperatures
from lightning_modules.checkpoint_format import check_format, note_format
from lightning_modules.mean import Mean
from lightning_modules.mid_epoch import KEY, keep_running_epoch, restore_running_epoch
from lightning_modules.network_source import NetworkSource, classes_of
from lightning_modules.optimizers import build_optimizer, build_schedule, move_schedule
from lightning_modules.resume import (
    check_optimizer,
    check_weights,
    given_options,
    only_validation_left,
    use_options,
)
from lightning_modules.sync_batchnorm import use_sync_norms
from lightning_modules.tasks import USUAL, task_of_checkpoint
from lightning_modules.training_options import OptimizerSettings, ScheduleSettings
from ops import ArgumentError


class NetworkModule(LightningModule):
    """A network that is trained and evaluated; subclasses say how, for one task each.

    A subclass calls :meth:`_settle` when all its own settings are known, makes what its steps need in
    :meth:`_build_task`, and logs what an evaluation found in :meth:`_log_evaluation`.

    Args:
        source: Where the network comes from.
        optimizer: The optimiser.
        schedule: The learning rate schedule.
        ema_decay: Decay of an exponential moving average of the weights, which is then evaluated instead of them.
        compile: Run the network through ``torch.compile``.
        channels_last: Keep images and weights in the channels_last memory format.
    """

    watched: str
    """The figure of an evaluation by which the best network is chosen."""
    task: str
    """What the command line and checkpoints call the task."""
    net: nn.Module | None

    def __init__(
        self,
        source: NetworkSource,
        optimizer: OptimizerSettings,
        schedule: ScheduleSettings,
        ema_decay: float | None,
        compile: bool,
        channels_last: bool,
    ):
        super().__init__()
        self.source = source
        self.model_name = source.name
        self.imports: list[str] = []  # what the command line imported for it, see --import
        # A checkpoint holds the groups as plain dicts, which any PyTorch can load without running code.
        self.optimizer_settings = group(OptimizerSettings, optimizer)
        self.schedule_settings = group(ScheduleSettings, schedule)
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ArgumentError("model.ema_decay", ema_decay, "a number between 0 and 1, or null")
        self._common = {
            "optimizer": asdict(self.optimizer_settings),
            "schedule": asdict(self.schedule_settings),
            "ema_decay": ema_decay,
            "compile": compile,
            "channels_last": channels_last,
        }
        self.net = source.net
        self.ema: ModelEmaV3 | None = None
        self._built = False
        self._fits: tuple[Any, ...] | None = None

    def _settle(self, num_classes: int | None, **own: Any) -> None:
        """Keep all settings, those of the subclass too, and build the network if the number of classes is known."""
        task = {} if self.task == USUAL else {"task": self.task}
        settings = {**self.source.hparams(), "num_classes": num_classes, **own, **self._common, **task}
        self.save_hyperparameters(settings)
        num_classes = self.source.num_classes(num_classes)
        if num_classes is not None:
            self._build(num_classes, self.source.in_chans())

    def _build(self, num_classes: int, in_chans: int) -> None:
        if num_classes < 2:
            raise ArgumentError("model.num_classes", num_classes, "at least 2")
        hparams = self.hparams
        self.net, self._built = self.source.build(num_classes, in_chans), True
        self.num_classes, self.in_chans = num_classes, in_chans
        # What the data decided is written down, so that the checkpoint rebuilds the network without the data.
        self.hparams.num_classes = num_classes
        self.hparams.model_kwargs = {**self.source.model_kwargs, "in_chans": in_chans}
        if hparams.channels_last:
            self.net.to(memory_format=torch.channels_last)
        if hparams.ema_decay is not None:
            self.ema = ModelEmaV3(self.net, decay=hparams.ema_decay, use_warmup=True)
            self.ema.module.requires_grad_(False)  # DistributedDataParallel waits for gradients of what requires them
        if hparams.compile:
            self.net.compile()  # in place: the names in checkpoints stay those of the network
        self.losses = nn.ModuleDict({stage: Mean() for stage in ("val", "test")})
        self.mean_loss = Mean()
        self._running_epoch: dict[str, Any] | None = None
        self._build_task(num_classes)

    def _build_task(self, num_classes: int) -> None:
        """Make the loss and the metrics, once the number of classes is known."""
        raise NotImplementedError

    def configure_model(self) -> None:
        """Build the network if the data had to be known first, and check that it fits the data."""
        # load_from_checkpoint calls this without a trainer; the checkpoint then says what the data would.
        attached = self._trainer is not None
        if attached:
            use_sync_norms(self.trainer)
        self.fit_to(getattr(self.trainer, "datamodule", None) if attached else None)

    def fit_to(self, data: Any) -> None:
        """Build the network for a data module unless it is built, and check that both fit.

        Args:
            data: Anything with ``num_classes``, ``in_chans``, ``image_size`` and ``batch_size``; what is missing is
                not checked.

        Raises:
            ArgumentError: They do not fit; names the argument to change.
        """
        if not self._built:
            self._build(classes_of(data), self.source.in_chans(getattr(data, "in_chans", None)))
        if self.source.own:  # no description says which images it takes: those of the data, as running it will show
            self.in_chans = getattr(data, "in_chans", None) or self.in_chans
            self.hparams.model_kwargs = {"in_chans": self.in_chans}
        facts = tuple(getattr(data, name, None) for name in ("num_classes", "in_chans", "image_size"))
        if (self.net, facts) != self._fits:  # Lightning asks again for each evaluation
            self._check_fits(data)
            self._fits = self.net, facts

    def _check_fits(self, data: Any) -> None:
        """Raise ArgumentError unless the network fits the data."""
        raise NotImplementedError

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated: the moving average if there is one."""
        return self.net if self.ema is None else self.ema.module

    def _format(self, x: Tensor) -> Tensor:
        x = x.to(next(self.net.parameters()).dtype)  # of a network trained wholly in bf16 or float64
        return x.contiguous(memory_format=torch.channels_last) if self.hparams.channels_last else x

    def _log_training(self) -> None:
        self.log("train/loss", self.mean_loss, on_step=False, on_epoch=True)

    def _log_evaluation(self, stage: str) -> None:
        raise NotImplementedError

    def _training_metrics(self) -> dict[str, Any]:
        """Return what an epoch adds up in training, for a checkpoint of its middle."""
        return {"mean_loss": self.mean_loss}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Update the weights, and then their moving average, so that a checkpoint of this step has both."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update(self.net, step=self.trainer.global_step + 1)  # this step is not counted yet
            # The temperature is a setting, not a weight: averaged, it would lag thousands of steps behind.
            for averaged, current in zip(iter_temperatures(self.ema.module), iter_temperatures(self.net)):
                averaged.copy_(current)

    def on_validation_start(self) -> None:
        """Evaluate the running statistics of the first process, also on one that is served no batch."""
        parallel = self.trainer.strategy.model
        if isinstance(parallel, DistributedDataParallel) and parallel.will_sync_module_buffers():
            parallel._sync_buffers()  # or the first batch would, and wait for all processes to have one
            parallel.require_forward_param_sync = False

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test."""
        self._log_evaluation("test")

    def configure_optimizers(self) -> dict[str, Any]:
        """Build the optimiser and the schedule with timm's factories."""
        optimizer = build_optimizer(self.net, self.optimizer_settings)
        self._given_options = given_options(optimizer, self.optimizer_settings)
        return {"optimizer": optimizer, **build_schedule(optimizer, self.schedule_settings, self.trainer)}

    def on_train_start(self) -> None:
        """Put a resumed schedule and the figures of a running epoch where the training is.

        The optimiser goes on with the options that this run was given, not with those of its checkpoint.
        """
        ends = only_validation_left(self.trainer)
        if self.trainer.global_step > 0:
            use_options(self.trainer.optimizers[0], self._given_options)
            for config in self.trainer.lr_scheduler_configs:
                # Lightning moves a schedule on with an epoch's last batch.
                position = self.trainer.global_step, self.current_epoch + ends
                move_schedule(config.scheduler, self.schedule_settings, *position)
        kept, self._running_epoch = self._running_epoch, None
        if kept is not None:
            restore_running_epoch(kept, self.trainer, self, **self._training_metrics())
            if ends:
                self._log_training()

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Move timm's scheduler on after a step or an epoch."""
        move_schedule(scheduler, self.schedule_settings, self.trainer.global_step, self.current_epoch + 1)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the module of a checkpoint, as Lightning does, but without loading pretrained weights first.

        Nothing in the file is run, wherever it comes from, unless ``weights_only=False`` says so.
        """
        usual = {"pretrained": False, "weights_only": True}
        return super().load_from_checkpoint(checkpoint_path, *args, **{**usual, **kwargs})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a running epoch adds up, and note what was imported for the network.

        Nothing is imported because a checkpoint says so.
        """
        note_format(checkpoint)
        if self.imports:
            checkpoint["imports"] = self.imports
        if self._trainer is not None:
            keep_running_epoch(checkpoint, self.trainer, self, **self._training_metrics())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose weights do not fit the network, or whose optimiser cannot go on."""
        check_format(checkpoint)
        hparams = checkpoint["hyper_parameters"]
        if (task := task_of_checkpoint(checkpoint)) != self.task:
            raise ArgumentError("ckpt_path", f"a checkpoint of {task}", f"one of {self.task}")
        self.source.check_trained(hparams)
        if not self._built:
            self._build(hparams["num_classes"], hparams["model_kwargs"]["in_chans"])
        # A schedule follows from the settings and the position alone. Restored, it would keep the length of the first
        # run, and training on would go on at the learning rate of its end.
        checkpoint["lr_schedulers"] = []
        check_weights(checkpoint, self.state_dict(), self.model_name, self.num_classes)
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._running_epoch = checkpoint.get(KEY)
            check_optimizer(asdict(self.optimizer_settings), hparams["optimizer"])


def group(cls: type, value: Any) -> Any:
    """Return a settings group from an instance or from the dict that a checkpoint holds."""
    return cls(**value) if isinstance(value, dict) else value
