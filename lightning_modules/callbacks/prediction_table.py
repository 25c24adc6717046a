"""Write what ``predict`` finds as a table."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter


class PredictionTable(BasePredictionWriter):
    """Write a CSV with one row per image: its path or number, and its most probable classes with probabilities.

    Args:
        path: The file.
        top: Number of classes per image.
    """

    def __init__(self, path: Path, top: int = 5):
        super().__init__(write_interval="batch")
        self.path, self.top = Path(path), top
        self._items: list[str] = []
        self._written = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the head of the table."""
        self._items, self._written = trainer.datamodule.predict_items(), 0
        self.top = min(self.top, pl_module.num_classes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        columns = [f"{kind}{k}" for k in range(1, self.top + 1) for kind in ("class", "probability")]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerow(["image", *columns])

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Add the rows of one batch of probabilities ``(B, num_classes)``."""
        names = trainer.datamodule.class_names or [str(i) for i in range(pl_module.num_classes)]
        probabilities, classes = prediction.float().topk(self.top, dim=1)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            for row in zip(classes.tolist(), probabilities.tolist()):
                pairs = [value for k, p in zip(*row) for value in (names[k], f"{p:.6f}")]
                writer.writerow([self._items[self._written], *pairs])
                self._written += 1
