"""Signals end a command between two steps."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules.interruption import agree, hold


class BetweenSteps(Callback):
    """Let SIGTERM, SIGUSR1 and Ctrl-C wait for the end of a step, from the first loop on; before, they end at once."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals; images may be waited for."""
        hold(may_wait=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let several processes end after the same step."""
        agree(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals, unless the training does."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            hold(may_wait=True)
        elif trainer.world_size > 1:
            # Those with fewer images would not look for signals, and wait for the others.
            trainer._signal_connector.received_sigterm = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let several processes end after the validation of a step."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            agree(trainer)

    on_test_start = on_train_start

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals until the rows of a batch are written."""
        hold(may_wait=False)
