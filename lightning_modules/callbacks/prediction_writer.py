"""What all callbacks do that write what ``predict`` finds."""

import sys
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.exceptions import SIGTERMException


class PredictionWriter(BasePredictionWriter):
    """Writes after each batch, stops if it is told to, and says at the end what could not be predicted.

    Args:
        path: The file or folder.
    """

    lacks: str
    """What an image lacks where the network's outputs are not finite, and why."""

    def __init__(self, path: Path):
        super().__init__(write_interval="batch")
        self.path = Path(path)
        self.items: list[str] = []
        self.written = self.not_finite = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which images come, and begin anew."""
        self.items = trainer.datamodule.predict_items()
        self.written = self.not_finite = 0

    def stop_if_told(self, trainer: Trainer) -> None:
        """End after a batch where SIGTERM came: Lightning looks for it in training and evaluation alone."""
        if trainer.received_sigterm and not trainer.predict_loop.batch_progress.is_last_batch:
            print(f"interrupted; {self.path} has the first {self.written} images", flush=True)
            raise SIGTERMException

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many images the network could not predict, if any."""
        if self.not_finite:
            what = f"{self.not_finite} of {self.written} images {self.lacks}"
            print(f"{what}: the network, or its precision ({trainer.precision}), is the reason", file=sys.stderr)
