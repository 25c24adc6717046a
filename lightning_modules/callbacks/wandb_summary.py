"""The figures of a whole run in W&B's summary, and in its checkpoints which W&B run they are of."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.tasks import watched_in
from lightning_modules.wandb_logger import CHECKPOINT_KEY, wandb_loggers


class WandbSummary(Callback):
    """Write what a run reached into W&B's summary after each epoch, so that a run that is killed has it too.

    Writes ``last/top1`` and ``best/top1`` (``val/top1``, or another task's ``val/miou``, of the last epoch and the
    highest one), ``best/epoch`` (counted from 0, as in the charts), ``epochs`` (how many were trained) and
    ``images_per_second`` (the mean over the epochs). All count the epochs before a resume. A checkpoint notes the W&B
    run, so that a resumed run can go on with it.
    """

    def __init__(self) -> None:
        self._found: dict[str, float] = {}
        self._rates: list[float] = []  # sum and number
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        """Return the figures of the epochs so far."""
        return {"found": dict(self._found), "rates": list(self._rates)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the figures of the epochs before."""
        self._found, self._rates = dict(state_dict["found"]), list(state_dict["rates"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the W&B run."""
        for logger in wandb_loggers(trainer):
            checkpoint[CHECKPOINT_KEY] = logger.state()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the logger the epoch: the learning rate is logged without it."""
        self._validated = False
        for logger in wandb_loggers(trainer):
            logger.epoch = trainer.current_epoch

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has figures of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the summary."""
        metrics = trainer.callback_metrics  # read on every process: it may make them exchange their parts of a figure
        self._found["epochs"] = trainer.current_epoch + 1
        watched = watched_in(metrics, "val/")
        if self._validated and watched is not None:
            value = self._found[f"last/{watched}"] = float(metrics[f"val/{watched}"])
            if value > self._found.get(f"best/{watched}", -1.0):
                self._found |= {f"best/{watched}": value, "best/epoch": trainer.current_epoch}
        if "train/images_per_second" in metrics:
            total, epochs = self._rates or (0.0, 0)
            self._rates = [total + float(metrics["train/images_per_second"]), epochs + 1]
            self._found["images_per_second"] = self._rates[0] / self._rates[1]
        for logger in wandb_loggers(trainer):
            logger.attempt(lambda run: run.summary.update(self._found))
