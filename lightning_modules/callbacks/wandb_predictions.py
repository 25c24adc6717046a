"""What a network gets wrong, in W&B: the confusion matrix, and the worst predictions with their images."""

from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from lightning_modules.data.splits import item_names
from lightning_modules.wandb_logger import EPOCH, wandb_loggers

OTHERS = "(other classes)"


class Worst(NamedTuple):
    """A prediction: the image ``(C, H, W)`` as uint8, and what was made of it."""

    loss: float
    number: int
    image: Tensor
    label: int
    predicted: int
    probability: float
    of_label: float


class WandbPredictions(Callback):
    """Log the confusion matrix and the worst predictions of a test to W&B, without a second look at the data.

    Logs ``predictions/confusion`` and the table ``predictions/worst``: image, its path or number, label, prediction,
    the probabilities of both, and the loss. ``test_step`` has to return the logits ``(B, num_classes)``. Kept are two
    numbers per image, and ``worst`` images. Of several processes, the first one's share of the images is shown.

    Args:
        worst: Number of predictions in the table.
        classes: Largest number of classes in the matrix: of more, those with the most errors are shown, and the rest as
            one. W&B draws at most 10,000 fields.
    """

    def __init__(self, worst: int = 32, classes: int = 100):
        self.worst, self.classes = worst, classes
        self._clear()

    def _clear(self) -> None:
        self._labels: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._worst: list[Worst] = []
        self._seen = 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._clear()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note labels and predictions, and keep the images of the worst ones."""
        if trainer.is_global_zero and wandb_loggers(trainer) and isinstance(outputs, Tensor):
            images, labels = batch[:2]
            data = trainer.datamodule
            self.add(outputs.float(), images, labels, data.mean, data.std)

    @torch.no_grad()
    def add(self, logits: Tensor, images: Tensor, labels: Tensor, mean: tuple, std: tuple) -> None:
        """Add a batch.

        Args:
            logits: ``(B, num_classes)``.
            images: ``(B, C, H, W)``, normalised by ``mean`` and ``std``.
            labels: ``(B,)``.
            mean: Of each channel.
            std: Of each channel.
        """
        losses = functional.cross_entropy(logits, labels, reduction="none")
        probabilities = logits.softmax(1)
        predicted = logits.argmax(1)
        self._labels.append(labels.to("cpu", torch.int32))
        self._predicted.append(predicted.to("cpu", torch.int32))
        found = list(self._worst)
        limit = found[-1].loss if len(found) == self.worst else -1.0
        for loss, i in zip(*(part.tolist() for part in losses.topk(min(self.worst, len(losses))))):
            if loss > limit:
                own = probabilities[i]
                label, guess = int(labels[i]), int(predicted[i])
                image = _pixels(images[i], mean, std)
                found.append(Worst(loss, self._seen + i, image, label, guess, float(own[guess]), float(own[label])))
        self._worst = sorted(found, key=lambda each: -each.loss)[: self.worst]
        self._seen += len(labels)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the matrix and the table."""
        if self._seen:
            data = trainer.datamodule
            names = data.class_names or [str(i) for i in range(pl_module.num_classes)]
            known = trainer.world_size == 1 and not isinstance(data.splits.test, IterableDataset)
            items = item_names(data.splits.test) if known else []
            for logger in wandb_loggers(trainer):
                logger.attempt(lambda run: run.log({**self._media(names, items), EPOCH: trainer.current_epoch}))
        self._clear()

    def _media(self, names: list[str], items: list[str]) -> dict[str, Any]:
        import wandb

        labels, predicted, shown = fewer_classes(torch.cat(self._labels), torch.cat(self._predicted), self.classes)
        classes = [OTHERS if k < 0 else names[k] for k in shown]
        title = f"Confusion matrix of {self._seen:,} images"
        matrix = wandb.plot.confusion_matrix(
            y_true=labels.tolist(), preds=predicted.tolist(), class_names=classes, title=title
        )
        columns = ["image", "item", "label", "prediction", "probability", "probability of the label", "loss"]
        rows = [
            [
                wandb.Image(each.image.permute(1, 2, 0).numpy()),
                items[each.number] if items else "",
                names[each.label],
                names[each.predicted],
                each.probability,
                each.of_label,
                each.loss,
            ]
            for each in self._worst
        ]
        return {"predictions/confusion": matrix, "predictions/worst": wandb.Table(columns=columns, data=rows)}


def _pixels(image: Tensor, mean: tuple, std: tuple) -> Tensor:
    """Return a normalised image ``(C, H, W)`` as it was, in uint8; one of other than 1 or 3 channels in grey."""
    by_channel = (torch.tensor(value).view(-1, 1, 1) for value in (std, mean))
    scale, shift = by_channel
    shown = image.float().cpu() * scale + shift
    shown = shown if len(shown) in (1, 3) else shown.mean(0, keepdim=True)
    return (shown.clamp(0, 1) * 255).round().to(torch.uint8)


def fewer_classes(labels: Tensor, predicted: Tensor, most: int) -> tuple[Tensor, Tensor, list[int]]:
    """Return labels and predictions ``(N,)`` as positions in a list of at most ``most`` classes, and that list.

    If there are more classes, those with the most errors are kept, by label or by prediction, and -1, the last in the
    list, stands for the others.
    """
    total = int(torch.cat([labels, predicted]).max()) + 1
    if total <= most:
        return labels, predicted, list(range(total))
    wrong = labels != predicted
    errors = torch.bincount(torch.cat([labels[wrong], predicted[wrong]]), minlength=total)
    kept = errors.topk(most - 1).indices.sort().values
    positions = torch.full((total,), most - 1)
    positions[kept] = torch.arange(most - 1)
    return positions[labels.long()], positions[predicted.long()], [*kept.tolist(), -1]
