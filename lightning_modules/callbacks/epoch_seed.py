"""Random numbers that depend on the position in training alone, so that a resumed run repeats an uninterrupted one."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.resume import batches_behind
from lightning_modules.seeding import seed_generators


class EpochSeed(Callback):
    """Seed Python, NumPy and PyTorch before each training batch from the run's seed, the epoch, the batch and the rank.

    Augmentation, mixup and dropout then draw the same numbers whether the batch follows another one or a restart.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def _seed(self, trainer: Trainer, batch: int) -> None:
        seed_generators(self.seed, trainer.current_epoch, batch, trainer.global_rank)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the generators for an epoch that goes on in its middle: it does not start again."""
        self._seed(trainer, batches_behind(trainer))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the generators for the first batch."""
        self._seed(trainer, 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Seed the generators for the next batch."""
        self._seed(trainer, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed them anew after a validation in the middle of an epoch, which may have drawn numbers."""
        self._seed(trainer, trainer.fit_loop.batch_idx + 1)
