"""Write what ``predict`` finds as a table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightning_modules.disk import naming
from lightning_modules.prediction.table import NOT_FINITE, CsvRows, rank


class PredictionTable(BasePredictionWriter):
    """Write a CSV with one row per image: its path or number, and its most probable classes with probabilities.

    Where the probabilities of an image are not finite, its row has its name and says so in the column ``error``.

    Args:
        path: The file.
        top: Number of classes per image.
    """

    def __init__(self, path: Path, top: int = 5):
        super().__init__(write_interval="batch")
        self.path, self.top = Path(path), top
        self._items: list[str] = []
        self._written = self._not_finite = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the head of the table."""
        self._items = trainer.datamodule.predict_items()
        self._written = self._not_finite = 0
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
                self._not_finite += ranked is None
                table.write(self._items[self._written], ranked, NOT_FINITE)
                self._written += 1
        if trainer.received_sigterm and not trainer.predict_loop.batch_progress.is_last_batch:
            # Lightning looks for it in the loops of training and evaluation alone.
            print(f"interrupted; {self.path} has the first {self._written} images", flush=True)
            raise SIGTERMException

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many images have no class, if any."""
        if self._not_finite:
            what = f"{self._not_finite} of {self._written} images have no class, as their probabilities are not finite"
            print(f"{what}: the network, or its precision ({trainer.precision}), is the reason", file=sys.stderr)
