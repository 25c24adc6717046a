"""The progress bar of a run: one line of at most 80 columns, with the loss and the last validation's top-1."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
    CustomTimeColumn,
)
from rich.progress import TextColumn

from lightning_modules.tasks import WATCHED


class CompactProgressBar(RichProgressBar):
    """Lightning's bar, narrow: epochs counted from 1, loss and top-1 (or mIoU) instead of everything that is logged."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the loss of the last step and the top-1 of the last validation, where there are such."""
        found = trainer.progress_bar_metrics
        watched = {title: (f"val/{key}", "{:.1%}") for key, title in WATCHED.items()}
        shown = {"loss": ("train/loss_step", "{:.3f}"), **watched}
        return {label: form.format(found[key]) for label, (key, form) in shown.items() if key in found}

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Return what stands before the figures; the speed is left out, as the line of each epoch has it."""
        return [
            TextColumn("[progress.description]{task.description}"),
            CustomBarColumn(bar_width=10),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            CustomTimeColumn(style=self.theme.time),
        ]

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts from 0 here, and the line of each epoch from 1.
        epochs = self.trainer.max_epochs
        known = epochs is not None and epochs > 0
        return f"Epoch {current_epoch + 1}{f'/{epochs}' if known else ''}".ljust(len(self.validation_description))
