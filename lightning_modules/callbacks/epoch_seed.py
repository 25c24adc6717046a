"""Random numbers that depend on the epoch alone, so that a resumed run repeats an uninterrupted one."""

from lightning.pytorch import Callback, LightningModule, Trainer
from timm.utils import random_seed


class EpochSeed(Callback):
    """Seed Python, NumPy and PyTorch at the start of every training epoch from the run's seed, epoch and rank.

    Augmentation, mixup and dropout then draw the same numbers whether the epoch follows another one or a restart.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the generators."""
        # Not Lightning's seed_everything, which would also change the seed that the run is known by.
        random_seed((self.seed * 1_000_003 + trainer.current_epoch) * 1_009 % 2**31, trainer.global_rank)
