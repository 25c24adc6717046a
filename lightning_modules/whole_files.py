"""Checkpoints that are written whole or not at all: a full disk or a kill leaves the one before."""

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dyc.whole_files import written_whole
from lightning_modules.disk import ADVICE, is_of_the_disk
from ops import ArgumentError


def save_whole(value: Any, path: Path) -> None:
    """Write a value as ``torch.save`` does, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with written_whole(path) as file:  # given a path, PyTorch's own writer does not say that the disk is full
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # PyTorch's writer fails once more as it ends, and hides why
                raise error.__context__ from None
            raise


def copy_whole(old: Path, new: Path) -> None:
    """Copy a file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with old.open("rb") as source, written_whole(new) as file:
        shutil.copyfileobj(source, file)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole: Lightning's own writes to the system's temporary folder, and copies from there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            ArgumentError: The disk is full, has become read-only, or failed.
        """
        if "://" in str(path):  # of a store, which has its own way
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_whole(checkpoint, path)
        except OSError as error:
            if not is_of_the_disk(error):
                raise
            kept, resume = ", the one before it is kept", ", and resume with --ckpt_path last"
            there = path.exists()
            sentence = f"{path} cannot be written ({error.strerror}){kept if there else ''}; {ADVICE[error.errno]}"
            raise ArgumentError("runs", sentence=sentence + (resume if there else "")) from error


def use_whole_checkpoints(trainer: Trainer) -> None:
    """Let a trainer write checkpoints whole, unless it was given a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()
