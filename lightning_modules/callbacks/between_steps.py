"""Signals end a command between two steps."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules.interruption import hold


class BetweenSteps(Callback):
    """Let SIGTERM, SIGUSR1 and Ctrl-C wait for the end of a step, from the first loop on; before, they end at once."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals; images may be waited for."""
        hold(may_wait=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals, unless the training does."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            hold(may_wait=True)

    on_test_start = on_train_start

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold signals until the rows of a batch are written."""
        hold(may_wait=False)
