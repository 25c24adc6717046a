"""Image classification with any timm network, static or dynamic, or any module."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torchmetrics import MetricCollection

from lightning_modules.accuracy import Accuracy
from lightning_modules.conversion_settings import DynamicSettings, SelectiveSettings
from lightning_modules.create_network import check_fits
from lightning_modules.image_mixing import build_loss, check_pairs
from lightning_modules.network_module import NetworkModule, group
from lightning_modules.network_source import NetworkSource
from lightning_modules.training_options import OptimizerSettings, RegularizationSettings, ScheduleSettings


class ImageClassifier(NetworkModule):
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

    watched, task = "top1", "classification"

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
        source = NetworkSource(model, model_kwargs, pretrained, dynamic, selective, net)
        super().__init__(source, optimizer, schedule, ema_decay, compile, channels_last)
        self.regularization = group(RegularizationSettings, regularization)
        self._settle(num_classes, regularization=asdict(self.regularization))

    def _build_task(self, num_classes: int) -> None:
        self.train_loss, self.mix = build_loss(self.regularization, num_classes)
        accuracies = {f"top{k}": Accuracy(num_classes, k) for k in (1, 5) if k < num_classes}
        self.metrics = nn.ModuleDict(
            {stage: MetricCollection(accuracies).clone(prefix=f"{stage}/") for stage in ("val", "test")}
        )
        self.train_top1 = Accuracy(num_classes)

    def fit_to(self, data: Any) -> None:
        """Build the network for a data module, and check that both fit; mixing needs batches of an even number too."""
        super().fit_to(data)
        batch_size = getattr(data, "batch_size", None)
        samples = len(data.splits.train) if getattr(data, "splits", None) is not None else batch_size
        if self.mix is not None and batch_size is not None:
            check_pairs(batch_size, samples, getattr(data, "last_batch_size", None))

    def _check_fits(self, data: Any) -> None:
        check_fits(self.net, self.model_name, self.num_classes, self.in_chans, data, self.source.own)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes)`` with the evaluated network."""
        return self.evaluated(self._format(x))

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
        super()._log_training()
        if self.mix is None:
            self.log("train/top1", self.train_top1, on_step=False, on_epoch=True)

    def _training_metrics(self) -> dict[str, Any]:
        return {**super()._training_metrics(), "train_top1": self.train_top1}

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

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the validation metrics."""
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Add one batch to the test metrics, and return its logits ``(B, num_classes)`` for the callbacks."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return class probabilities ``(B, num_classes)``."""
        x = batch[0] if isinstance(batch, tuple | list) else batch
        return self(x).softmax(1)
