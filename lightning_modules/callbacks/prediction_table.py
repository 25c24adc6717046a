"""Write what ``predict`` finds as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_modules.callbacks.prediction_writer import PredictionWriter
from lightning_modules.disk import naming
from lightning_modules.prediction.table import NOT_FINITE, CsvRows, rank


class PredictionTable(PredictionWriter):
    """Write a CSV with one row per image: its path or number, and its most probable classes with probabilities.

    Where the probabilities of an image are not finite, its row has its name and says so in the column ``error``.

    Args:
        path: The file.
        top: Number of classes per image.
    """

    lacks = "have no class, as their probabilities are not finite"

    def __init__(self, path: Path, top: int = 5):
        super().__init__(path)
        self.top = top

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the head of the table."""
        super().on_predict_start(trainer, pl_module)
        self.top = min(self.top, pl_module.num_classes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with naming(self.path), self.path.open("w", newline="") as file:
            CsvRows(file, self.top)

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
        with naming(self.path), self.path.open("a", newline="") as file:
            table = CsvRows(file, self.top, head=False)
            for probabilities in prediction.float().cpu().numpy():
                ranked = rank(probabilities, names, self.top)
                self.not_finite += ranked is None
                table.write(self.items[self.written], ranked, NOT_FINITE)
                self.written += 1
        self.stop_if_told(trainer)
