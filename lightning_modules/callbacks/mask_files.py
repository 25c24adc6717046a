"""Write what ``predict`` finds of a segmentation: a mask for each image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from PIL import Image

from lightning_modules.disk import naming


class MaskFiles(BasePredictionWriter):
    """Write a PNG for each image, of its size: the class of each pixel, shown in the colour of the class.

    Files are named after the images, and numbered where two have the same name.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        super().__init__(write_interval="batch")
        self.path = Path(path)
        self._names: list[str] = []
        self._written = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the folder, and name the files."""
        stems = [Path(name).stem for name in trainer.datamodule.predict_items()]
        often = Counter(stems)
        self._names = [stem if often[stem] == 1 else f"{i:06}_{stem}" for i, stem in enumerate(stems)]
        self._written = 0
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

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
        """Write the masks of one batch ``(B, H, W)``."""
        colours = [channel for colour in trainer.datamodule.palette or () for channel in colour]
        for mask in prediction.to("cpu").numpy().astype(np.uint8):
            image = Image.fromarray(mask)
            if colours:
                image.putpalette(colours)  # which makes it one of indices
            path = self.path / f"{self._names[self._written]}.png"
            with naming(path):
                image.save(path)
            self._written += 1
