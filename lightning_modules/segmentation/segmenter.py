"""Semantic segmentation with any timm backbone, static or dynamic."""

import math
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from lightning_modules.conversion_settings import DynamicSettings, SelectiveSettings
from lightning_modules.create_network import check_fits
from lightning_modules.network_module import NetworkModule, group
from lightning_modules.segmentation.loss import pixel_loss
from lightning_modules.segmentation.scores import PixelScores
from lightning_modules.segmentation.settings import EvaluationSettings
from lightning_modules.segmentation.source import SegmentationSource
from lightning_modules.segmentation.views import segment
from lightning_modules.sync_batchnorm import SyncBatchNormOnCpu
from lightning_modules.training_options import OptimizerSettings, ScheduleSettings
from ops import ArgumentError

POLY = ScheduleSettings("poly", per_update=True, decay_rate=0.9)
"""The polynomial schedule of DeepLab (https://arxiv.org/abs/1606.00915), and of most segmentation since."""


class SemanticSegmenter(NetworkModule):
    """Trains and evaluates a network on images with a class for each pixel.

    Args:
        model: Name of the backbone: any timm model that has feature levels; ``dyc models`` lists this package's.
        model_kwargs: Further arguments of the backbone, such as ``num_kernels`` or ``drop_rate``.
        num_classes: Number of classes; by default that of the data.
        pretrained: Start from timm's pretrained weights of the backbone.
        dynamic: Make the backbone dynamic: an attention's name such as dyc, or settings.
        selective: Make the backbone selective: true, or settings.
        head: ``fcn`` or ``deeplabv3``, of torchvision.
        output_stride: Pixels of the image per pixel of the backbone's last map, along one side: 8, 16 or 32.
        auxiliary: Train with a second head on the map before the last one.
        auxiliary_weight: Weight of that head's loss.
        class_weights: Weights of the classes in the loss of training: ``median_frequency`` or ``enet``, which the data
            computes from its training split, or a number for each class.
        optimizer: The optimiser.
        schedule: The learning rate schedule; by default polynomial of power 0.9, per step.
        evaluation: How whole images are segmented: windows, several sizes, mirrored.
        ema_decay: Decay of an exponential moving average of the weights, which is then evaluated instead of them.
        compile: Run the network through ``torch.compile``.
        channels_last: Keep images and weights in the channels_last memory format.

    Logs ``{train,val,test}/loss``, ``{val,test}/miou`` and ``/pixel_accuracy`` (shares from 0 to 1), and
    ``/iou/CLASS`` in ``dyc validate`` and in tests, not in validations during training. Pixels without a class are left
    out. A class that is neither in the masks of a split nor predicted there has no IoU, and ``miou`` is the mean of the
    others.

    Raises:
        ArgumentError: Unknown names, or a network that does not fit the data; before training starts.

    Example:
        >>> SemanticSegmenter("dynet_resnet18", num_classes=11)(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 11, 64, 64])
    """

    watched, task = "miou", "segmentation"

    def __init__(
        self,
        model: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        num_classes: int | None = None,
        pretrained: bool = False,
        dynamic: DynamicSettings | str | bool | None = None,
        selective: SelectiveSettings | bool | None = None,
        head: str = "fcn",
        output_stride: int = 8,
        auxiliary: bool = False,
        auxiliary_weight: float = 0.4,
        class_weights: str | list[float] | None = None,
        optimizer: OptimizerSettings = OptimizerSettings(),  # noqa: B008  (frozen)
        schedule: ScheduleSettings = POLY,
        evaluation: EvaluationSettings = EvaluationSettings(),  # noqa: B008
        ema_decay: float | None = None,
        compile: bool = False,
        channels_last: bool = True,
    ):
        own = {"head": head, "output_stride": output_stride, "auxiliary": auxiliary}
        source = SegmentationSource(model, model_kwargs, pretrained, dynamic, selective, **own)
        super().__init__(source, optimizer, schedule, ema_decay, compile, channels_last)
        if not 0 <= auxiliary_weight < math.inf:
            raise ArgumentError("model.auxiliary_weight", auxiliary_weight, "at least 0")
        self.evaluation = group(EvaluationSettings, evaluation)
        self.ignore_index = 255
        self._weight: Tensor | None = None
        self._settle(
            num_classes,
            auxiliary_weight=auxiliary_weight,
            class_weights=class_weights,
            evaluation=asdict(self.evaluation),
        )

    def _build_task(self, num_classes: int) -> None:
        self.scores = nn.ModuleDict({stage: PixelScores(num_classes) for stage in ("val", "test")})

    def fit_to(self, data: Any) -> None:
        """Build the network for a data module, check that both fit, and take its label of pixels without a class."""
        super().fit_to(data)
        self.ignore_index = getattr(data, "ignore_index", self.ignore_index)

    def _check_fits(self, data: Any) -> None:
        check_fits(self.net, self.model_name, self.num_classes, self.in_chans, data)

    def on_fit_start(self) -> None:
        """Ask the data for the weights of the classes, if it is to compute them; refuse batches that are too small."""
        given, data = self.hparams.class_weights, getattr(self._trainer, "datamodule", None)
        if getattr(data, "batch_size", None) == 1 and self.hparams.head == "deeplabv3":
            self._check_norms_of_one()
        if isinstance(given, str):
            if not hasattr(data, "class_weights"):
                need = f"a number for each of {self.num_classes} classes, or a data module that computes them"
                raise ArgumentError("model.class_weights", repr(given), need)
            try:
                self._weight = data.class_weights(given)
            except ArgumentError as error:
                raise ArgumentError(f"model.class_weights{str(error).removeprefix('method')}") from error
        elif given is not None:
            if len(given) != self.num_classes or not all(0 <= each < math.inf for each in given) or not any(given):
                need = f"{self.num_classes} numbers of at least 0, one for each class"
                raise ArgumentError("model.class_weights", given, need)
            self._weight = torch.tensor(given, dtype=torch.float32)

    def _check_norms_of_one(self) -> None:
        """Raise unless processes share their batches of one image: deeplabv3 normalises one value per channel of it."""
        shared = any(isinstance(each, nn.SyncBatchNorm | SyncBatchNormOnCpu) for each in self.net.classifier.modules())
        if not shared or self.trainer.world_size == 1:
            need = "at least 2 with model.head deeplabv3, whose BatchNorm has one value per image and channel"
            raise ArgumentError("data.batch_size", 1, need)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to logits ``(B, num_classes, H, W)`` with the evaluated network."""
        return segment(self._logits, self._format(x), self.evaluation)

    def _logits(self, x: Tensor) -> Tensor:
        found = self.evaluated(x)
        return found[0] if isinstance(found, tuple) else found  # in training mode with an auxiliary head

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch of images ``(B, C, H, W)`` and masks ``(B, H, W)``."""
        x, masks = batch
        outputs = self.net(self._format(x))
        logits, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        weight = None if self._weight is None else self._weight.to(logits.device)
        loss = pixel_loss(logits, masks, self.ignore_index, weight)
        for other in others:
            loss = loss + self.hparams.auxiliary_weight * pixel_loss(other, masks, self.ignore_index, weight)
        self.mean_loss.update(loss.detach(), weight=len(masks))
        self.log("train/loss_step", loss.detach(), prog_bar=True)
        self._log_training()
        return loss

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        x, masks = batch
        logits = self(x)
        pixels = (masks != self.ignore_index).sum()
        self.losses[stage].update(pixel_loss(logits, masks, self.ignore_index), weight=pixels)
        self.scores[stage].update(logits, masks, self.ignore_index)
        return logits

    def _log_evaluation(self, stage: str) -> None:
        found = self.scores[stage].compute()
        of_classes = found.pop("iou").tolist()
        values = {f"{stage}/loss": self.losses[stage].compute()}
        values |= {f"{stage}/{name}": value for name, value in found.items()}
        if self.trainer.state.fn != TrainerFn.FITTING:
            names = self.class_names
            values |= {f"{stage}/iou/{name}": iou for name, iou in zip(names, of_classes) if iou == iou}
        self.log_dict(values, prog_bar=stage == "val", sync_dist=True)
        self.losses[stage].reset()
        self.scores[stage].reset()

    @property
    def class_names(self) -> list[str]:
        """Names of the classes: those of the data, or their numbers."""
        names = getattr(self.trainer.datamodule, "class_names", None)
        return list(names or map(str, range(self.num_classes)))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the figures of the validation."""
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Add one batch to the figures of the test, and return its logits for the callbacks."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the class of each pixel, ``(B, H, W)``; ``ignore_index`` where the logits are not finite."""
        x = batch[0] if isinstance(batch, tuple | list) else batch
        largest, found = self(x).max(1)
        return found.where(largest.isfinite(), self.ignore_index)
