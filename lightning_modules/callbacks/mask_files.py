"""Write what ``predict`` finds of a segmentation: a mask for each image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_modules.callbacks.prediction_writer import PredictionWriter
from lightning_modules.data.segmentation.palette import save_mask
from lightning_modules.disk import naming


class MaskFiles(PredictionWriter):
    """Write a PNG for each image, of the size of its file: the class of each pixel, in the colour of the class.

    Pixels whose class is not known, as the network's outputs are not finite, have the module's ``ignore_index`` and are
    white. Files are named after the images, and numbered where two have the same name.

    Args:
        path: The folder.
    """

    lacks = "have pixels without a class, as their logits are not finite"

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the folder, and name the files."""
        super().on_predict_start(trainer, pl_module)
        stems = [Path(name).stem for name in self.items]
        often = Counter(stems)
        self._names = [stem if often[stem] == 1 else f"{i:06}_{stem}" for i, stem in enumerate(stems)]
        self._sizes = trainer.datamodule.predict_sizes()
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
        for mask in prediction.to("cpu").numpy():
            self.not_finite += bool((mask == pl_module.ignore_index).any())
            height, width = self._sizes[self.written]
            path = self.path / f"{self._names[self.written]}.png"
            save_mask(path, mask, (width, height), trainer.datamodule.palette or ())
            self.written += 1
        self.stop_if_told(trainer)
