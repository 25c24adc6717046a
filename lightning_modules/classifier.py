"""Image classification with any timm network, static or dynamic, or any module."""

from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchmetrics import MeanMetric, MetricCollection

from dyc.dynamic_model import iter_temperatures
from lightning_modules.accuracy import Accuracy
from lightning_modules.checkpoint_format import check_format, note_format
from lightning_modules.conversion_settings import DynamicSettings, SelectiveSettings
from lightning_modules.create_network import check_fits
from lightning_modules.image_mixing import build_loss, check_pairs
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
from lightning_modules.training_options import OptimizerSettings, RegularizationSettings, ScheduleSettings
from ops import ArgumentError


class ImageClassifier(LightningModule):
    """Trains and evaluates a network on images with one label each.

    Args:
        model: Name of any timm model; ``dyc models`` lists this package's.
        model_kwargs: Further arguments of the model, such as ``num_kernels`` or ``drop_rate``.
        num_classes: Outputs of the classifier; by default the number of classes of the data.
        pretrained: Start from timm's pretrained weights.
        dynamic: Make the network dynamic, whatever timm model it is: an attention's name such as dyc, or settings.
        selective: Make the network selective: true, or settings.
        optimizer: The optimiser.
        schedule: The learning rate schedule.
        regularization: Label smoothing, mixup and CutMix.
        ema_decay: Decay of an exponential moving average of the weights, which is then evaluated instead of them.
        compile: Run the network through ``torch.compile``.
        channels_last: Keep images and weights in the channels_last memory format.
        net: A network of your own instead of timm's: any module from images ``(B, C, H, W)`` to logits
            ``(B, num_classes)``. ``model`` is then only its name in logs. ``dynamic`` and ``selective`` change it in
            place. A checkpoint keeps its weights alone, so ``load_from_checkpoint`` takes ``net`` again.

    Logs ``{train,val,test}/loss`` and ``{val,test}/top1``, ``/top5`` (shares from 0 to 1), ``train/top1`` when images
    are not mixed, and ``train/loss_step``, the loss of one batch, every ``log_every_n_steps`` steps of the Trainer.

    Raises:
        ArgumentError: Unknown names, or a network that does not fit the data; before training starts.

    Example:
        >>> ImageClassifier("dyc_mobilenetv2_cifar", num_classes=10).net.num_classes
        10
        >>> ImageClassifier("mobilenetv3_small_050", num_classes=10, dynamic="dyc").source.title
        'mobilenetv3_small_050 (dyc, depthwise)'
        >>> ImageClassifier(net=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), num_classes=10).model_name
        'Sequential'
    """

    def __init__(
        self,
        model: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        num_classes: int | None = None,
        pretrained: bool = False,
        dynamic: DynamicSettings | str | bool | None = None,
        selective: SelectiveSettings | bool | None = None,
        optimizer: OptimizerSettings = OptimizerSettings(),  # noqa: B008  (frozen)
        schedule: ScheduleSettings = ScheduleSettings(),  # noqa: B008
        regularization: RegularizationSettings = RegularizationSettings(),  # noqa: B008
        ema_decay: float | None = None,
        compile: bool = False,
        channels_last: bool = True,
        net: nn.Module | None = None,
    ):
        super().__init__()
        self.source = NetworkSource(model, model_kwargs, pretrained, dynamic, selective, net)
        self.model_name = self.source.name
        self.imports: list[str] = []  # what the command line imported for it, see --import
        # A checkpoint holds the groups as plain dicts, which any PyTorch can load without running code.
        self.optimizer_settings = _group(OptimizerSettings, optimizer)
        self.schedule_settings = _group(ScheduleSettings, schedule)
        self.regularization = _group(RegularizationSettings, regularization)
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ArgumentError("model.ema_decay", ema_decay, "a number between 0 and 1, or null")
        self.save_hyperparameters(
            {
                **self.source.hparams(),
                "num_classes": num_classes,
                "optimizer": asdict(self.optimizer_settings),
                "schedule": asdict(self.schedule_settings),
                "regularization": asdict(self.regularization),
                "ema_decay": ema_decay,
                "compile": compile,
                "channels_last": channels_last,
            }
        )
        self.net = net
        self.ema: ModelEmaV3 | None = None
        self._built = False
        self._fits: tuple[Any, ...] | None = None
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
        self.train_loss, self.mix = build_loss(self.regularization, num_classes)
        accuracies = {f"top{k}": Accuracy(num_classes, k) for k in (1, 5) if k < num_classes}
        self.metrics = nn.ModuleDict(
            {stage: MetricCollection(accuracies).clone(prefix=f"{stage}/") for stage in ("val", "test")}
        )
        self.losses = nn.ModuleDict({stage: _mean() for stage in ("val", "test")})
        self.mean_loss = _mean()
        self.train_top1 = Accuracy(num_classes)
        self._running_epoch: dict[str, Any] | None = None

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
            check_fits(self.net, self.model_name, self.num_classes, self.in_chans, data, self.source.own)
            self._fits = self.net, facts
        batch_size = getattr(data, "batch_size", None)
        samples = len(data.splits.train) if getattr(data, "splits", None) is not None else batch_size
        if self.mix is not None and batch_size is not None:
            check_pairs(batch_size, samples, getattr(data, "last_batch_size", None))

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated: the moving average if there is one."""
        return self.net if self.ema is None else self.ema.module

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)`` with the evaluated network."""
        return self.evaluated(self._format(x))

    def _format(self, x: Tensor) -> Tensor:
        x = x.to(next(self.net.parameters()).dtype)  # of a network trained wholly in bf16 or float64
        return x.contiguous(memory_format=torch.channels_last) if self.hparams.channels_last else x

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch of images ``(B, C, H, W)`` and labels ``(B,)``."""
        x, labels = batch
        x, target = self._format(x), labels
        if self.mix is not None:
            x, target = self.mix(x, labels)
        logits = self.net(x)
        loss = self.train_loss(logits, target)
        self.mean_loss.update(loss.detach(), weight=len(labels))
        self.log("train/loss_step", loss.detach(), prog_bar=True)
        if self.mix is None:
            self.train_top1.update(logits.detach(), labels)
        self._log_training()
        return loss

    def _log_training(self) -> None:
        self.log("train/loss", self.mean_loss, on_step=False, on_epoch=True)
        if self.mix is None:
            self.log("train/top1", self.train_top1, on_step=False, on_epoch=True)

    def _training_metrics(self) -> dict[str, Any]:
        return {"mean_loss": self.mean_loss, "train_top1": self.train_top1}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Update the weights, and then their moving average, so that a checkpoint of this step has both."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.ema is not None:
            self.ema.update(self.net, step=self.trainer.global_step + 1)  # this step is not counted yet
            # The temperature is a setting, not a weight: averaged, it would lag thousands of steps behind.
            for averaged, current in zip(iter_temperatures(self.ema.module), iter_temperatures(self.net)):
                averaged.copy_(current)

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        x, labels = batch
        logits = self(x)
        self.losses[stage].update(nn.functional.cross_entropy(logits, labels), weight=len(labels))
        self.metrics[stage].update(logits, labels)
        return logits

    def _log_evaluation(self, stage: str) -> None:
        values = {f"{stage}/loss": self.losses[stage].compute(), **self.metrics[stage].compute()}
        self.log_dict(values, prog_bar=stage == "val", sync_dist=True)
        self.losses[stage].reset()
        self.metrics[stage].reset()

    def on_validation_start(self) -> None:
        """Evaluate the running statistics of the first process, also on one that is served no batch."""
        parallel = self.trainer.strategy.model
        if isinstance(parallel, DistributedDataParallel) and parallel.will_sync_module_buffers():
            parallel._sync_buffers()  # or the first batch would, and wait for all processes to have one
            parallel.require_forward_param_sync = False

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the validation metrics."""
        self._evaluate(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the validation loss and accuracies."""
        self._log_evaluation("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Add one batch to the test metrics, and return its logits ``(B, num_classes)`` for the callbacks."""
        return self._evaluate(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the test loss and accuracies."""
        self._log_evaluation("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return class probabilities ``(B, num_classes)``."""
        x = batch[0] if isinstance(batch, tuple | list) else batch
        return self(x).softmax(1)

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
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> "ImageClassifier":
        """Return the classifier of a checkpoint, as Lightning does, but without loading pretrained weights first.

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


def _mean() -> MeanMetric:
    """Return a mean that adds up in float32 wherever it is made: Lightning makes bfloat16 or float64 the default."""
    # The default of torchmetrics leaves NaNs out of the mean, and a broken network would look well.
    return MeanMetric(nan_strategy="disable").set_dtype(torch.float32)


def _group(cls: type, value: Any) -> Any:
    """Return a settings group from an instance or from the dict that a checkpoint holds."""
    return cls(**value) if isinstance(value, dict) else value
