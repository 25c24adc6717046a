"""Checkpoints of a run: the best and the last, kept across a resume, and what to type after an interruption."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from lightning_modules.disk import is_of_the_disk
from lightning_modules.ended_worker import is_ended_worker
from lightning_modules.whole_files import copy_whole, use_whole_checkpoints


class BestCheckpoint(ModelCheckpoint):
    """Keep ``best.ckpt``, the network with the highest figure on validation.

    A resumed run starts from a copy of the old one.

    Lightning's own callback forgets the best score when the folder changes, as it does with every run here. A network
    whose validation loss is NaN or infinite is never the best.

    Args:
        folder: Folder of the checkpoints.
        figure: The figure: ``top1`` is ``val/top1``.
    """

    def __init__(self, folder: Path, figure: str = "top1"):
        super().__init__(
            folder,
            "best",
            monitor=f"val/{figure}",
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Tell whether this network is the best so far."""
        loss = trainer.callback_metrics.get("val/loss")
        usable = loss is None or bool(loss.isfinite())
        return usable and super().check_monitor_top_k(trainer, current)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the trainer write checkpoints whole or not at all."""
        super().setup(trainer, pl_module, stage)
        use_whole_checkpoints(trainer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score so far, and the file that holds it."""
        old, score = Path(state_dict["best_model_path"]), state_dict["best_model_score"]
        new = Path(self.dirpath) / "best.ckpt"
        if score is None or not old.is_file() or old.resolve() == new.resolve():
            return
        _copy(old, new)
        self.best_model_score = self.current_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = str(new)
        self.best_k_models = {str(new): score}


class LastCheckpoint(ModelCheckpoint):
    """Keep ``last.ckpt``, the network of the last finished epoch, and say how to go on after an interruption.

    SIGTERM, as queues send it, SIGUSR1 and Ctrl-C end a training between two steps; ``last.ckpt`` is then the network
    of the last of them.

    Args:
        folder: Folder of the checkpoints.
        every: Steps after which it is written within an epoch; None for never.
    """

    def __init__(self, folder: Path, every: int | None = None):
        super().__init__(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.every, self._stepped = every, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that nothing is new yet."""
        super().on_train_start(trainer, pl_module)
        self._stepped = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; the last step of an epoch is saved when that has been validated."""
        self._stepped = True
        due = self.every is not None and trainer.global_step % self.every == 0
        if due and not trainer.is_last_batch and self._last_global_step_saved != trainer.global_step:
            self._save_now(trainer)

    def _save_now(self, trainer: Trainer) -> None:
        self.best_model_path = self.format_checkpoint_name({})  # a part of what is saved
        self._save_checkpoint(trainer, self.best_model_path)
        for logger in trainer.loggers:  # what they have logged so far is not logged again after a kill
            logger.save()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the file to resume from; Lightning would warn that the folder, which every run has, is another."""
        self.best_model_path = state_dict["best_model_path"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the trainer write checkpoints whole or not at all."""
        super().setup(trainer, pl_module, stage)
        use_whole_checkpoints(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Name the checkpoint to resume from; a signal leaves time to write it."""
        outside = is_of_the_disk(exception) or is_ended_worker(exception)  # of a log, of a process that reads
        stopped = outside or isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if trainer.state.fn != TrainerFn.FITTING or not stopped:
            return
        new = self._stepped and self._last_global_step_saved != trainer.global_step
        if isinstance(exception, SIGTERMException) and new:  # a full disk, say, comes in the middle of a step
            self._save_now(trainer)
        own = self.format_checkpoint_name({})
        path = own if Path(own).is_file() else trainer.ckpt_path  # or the one that this run began with
        _say(f"interrupted; resume with --ckpt_path {path}" if path else "interrupted before the first checkpoint")


@rank_zero_only
def _copy(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    copy_whole(old, new)


@rank_zero_only
def _say(text: str) -> None:
    print(text, flush=True)
