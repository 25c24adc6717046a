"""Checkpoints of a run: the best and the last, kept across a resume, and what to type after an interruption."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from lightning_modules.whole_files import copy_whole, use_whole_checkpoints


class BestCheckpoint(ModelCheckpoint):
    """Keep ``best.ckpt``, the network with the highest ``val/top1``; a resumed run starts from a copy of the old one.

    Lightning's own callback forgets the best score when the folder changes, as it does with every run here.

    Args:
        folder: Folder of the checkpoints.
    """

    def __init__(self, folder: Path):
        super().__init__(
            folder,
            "best",
            monitor="val/top1",
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

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

    Args:
        folder: Folder of the checkpoints.
    """

    def __init__(self, folder: Path):
        super().__init__(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the file to resume from; Lightning would warn that the folder, which every run has, is another."""
        self.best_model_path = state_dict["best_model_path"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the trainer write checkpoints whole or not at all."""
        super().setup(trainer, pl_module, stage)
        use_whole_checkpoints(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Name the checkpoint to resume from."""
        if isinstance(exception, KeyboardInterrupt):
            path = self.best_model_path
            _say(f"interrupted; resume with --ckpt_path {path}" if path else "interrupted before the first checkpoint")


@rank_zero_only
def _copy(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    copy_whole(old, new)


@rank_zero_only
def _say(text: str) -> None:
    print(text, flush=True)
