"""How fast training is, and how much of its time waits for data."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log ``train/images_per_second`` (all devices) and ``train/data_time_share`` of each epoch.

    The time of an epoch is that of its training batches, validation left out; the share is the part of it spent
    between two steps, waiting for the next batch on the device. The first batch of a run, which warms up or
    compiles, is not counted.
    """

    def __init__(self) -> None:
        self._warm = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks for the rest of an epoch that goes on in its middle."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._images, self._waiting, self._working = 0, 0.0, 0.0
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the time since the last step as waiting."""
        now = time.perf_counter()
        self._waiting += (now - self._mark) * self._warm
        self._mark = now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock for a validation in the middle of an epoch."""
        self._validation = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the clock go on."""
        if not trainer.sanity_checking:
            self._mark += time.perf_counter() - self._validation

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; the device is waited for once per epoch, at the last batch."""
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        if self._warm:
            self._working += now - self._mark
            self._images += len(batch[0])
        self._warm, self._mark = True, now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both figures; an epoch of one warm-up batch has none."""
        total = self._waiting + self._working
        if self._images and total > 0:
            rate = self._images * trainer.world_size / total
            pl_module.log("train/images_per_second", rate, rank_zero_only=True)
            pl_module.log("train/data_time_share", self._waiting / total, rank_zero_only=True)
