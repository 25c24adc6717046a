"""The best and the worst segmented images of a test: image, truth, prediction and error side by side."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_modules.disk import naming
from lightning_modules.segmentation.drawing import COLOURS, draw_row
from lightning_modules.segmentation.scores import PixelScores
from lightning_modules.wandb_logger import EPOCH, wandb_loggers


class Segmented(NamedTuple):
    """An image with what was made of it; ``miou`` is the mean over the classes in its mask or prediction."""

    miou: float
    number: int
    image: Tensor
    truth: Tensor
    predicted: Tensor


class SegmentationPictures(Callback):
    """Draw the images of a test that were segmented best and worst, by the mIoU of each image.

    Writes ``FOLDER/best_1.png``, ``worst_1.png`` and so on after every test of the network in memory, and logs
    ``pictures/best`` and ``pictures/worst`` to W&B. Images are kept as uint8, ``count`` of each kind. Of several
    processes, the first one's share of the images is shown. Images whose pixels all have no class are left out.

    Args:
        folder: Where the pictures are written; None for W&B alone.
        count: Number of the best and of the worst images.
        wandb: Log them to W&B.
    """

    def __init__(self, folder: Path | None, count: int = 4, wandb: bool = True):
        self.folder, self.count, self.wandb = folder, count, wandb
        self._clear()

    def _clear(self) -> None:
        self._kept: list[Segmented] = []
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
        """Measure every image, and keep the best and the worst ones."""
        if trainer.is_global_zero:
            images, masks = batch[:2]
            data = trainer.datamodule
            self.add(outputs.float(), images, masks, data.mean, data.std, pl_module.ignore_index)

    @torch.no_grad()
    def add(self, logits: Tensor, images: Tensor, masks: Tensor, mean: tuple, std: tuple, ignore_index: int) -> None:
        """Add a batch.

        Args:
            logits: ``(B, num_classes, H, W)``.
            images: ``(B, C, H, W)``, normalised by ``mean`` and ``std``.
            masks: Classes ``(B, H, W)``.
            mean: Of each channel.
            std: Of each channel.
            ignore_index: The label of pixels without a class.
        """
        for each, image, mask in zip(logits, images, masks):
            # Of this process alone: the others do not ask.
            scores = PixelScores(logits.shape[1], sync_on_compute=False).to(logits.device)
            scores.update(each[None], mask[None], ignore_index)
            miou = float(scores.compute()["miou"])
            number, self._seen = self._seen, self._seen + 1
            if miou == miou and self._among(miou):
                predicted = each.argmax(0).to("cpu", torch.uint8)
                truth = mask.where(mask != ignore_index, 255).to("cpu", torch.uint8)
                self._keep(Segmented(miou, number, pixels(image, mean, std), truth, predicted))

    def _among(self, miou: float) -> bool:
        """Tell whether an image is among the best or the worst so far."""
        if len(self._kept) < 2 * self.count:
            return True
        return miou > self._kept[self.count - 1].miou or miou < self._kept[self.count].miou

    def _keep(self, image: Segmented) -> None:
        self._kept = sorted([*self._kept, image], key=lambda each: (-each.miou, each.number))
        if len(self._kept) > 2 * self.count:
            del self._kept[self.count]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and log the pictures."""
        if self._kept:
            self._draw(trainer, pl_module)
        self._clear()

    @rank_zero_only
    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule
        names = data.names("test") if trainer.world_size == 1 else []
        palette = list(getattr(data, "palette", None) or COLOURS)
        half = (len(self._kept) + 1) // 2
        chosen = {"best": self._kept[:half], "worst": self._kept[half:][::-1]}
        found: dict[str, list[Any]] = {kind: [] for kind in chosen}
        for kind, images in chosen.items():
            for place, each in enumerate(images, 1):
                item = Path(names[each.number]).name if names else f"image {each.number}"
                title = f"{item}: mIoU {each.miou:.1%}"
                row = draw_row(each.image, each.truth, each.predicted, pl_module.class_names, palette, title)
                found[kind].append(row)
                if self.folder is not None:
                    path = self.folder / f"{kind}_{place}.png"
                    with naming(path):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        row.save(path)
        for logger in wandb_loggers(trainer) if self.wandb else ():
            logger.attempt(lambda run: run.log({**_media(found), EPOCH: trainer.current_epoch}))


def _media(found: dict[str, list[Any]]) -> dict[str, Any]:
    import wandb

    return {f"pictures/{kind}": [wandb.Image(row) for row in rows] for kind, rows in found.items() if rows}


def pixels(image: Tensor, mean: tuple, std: tuple) -> Tensor:
    """Return a normalised image ``(3, H, W)`` as it was, in uint8, ``(H, W, 3)``."""
    scale, shift = (torch.tensor(value).view(-1, 1, 1) for value in (std, mean))
    shown = image.float().cpu() * scale + shift
    return (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
