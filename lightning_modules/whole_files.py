"""Files that are written whole or not at all: a full disk or a kill leaves the one before."""

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ops import ArgumentError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a user's share of it that is used up."""


def save_whole(value: Any, path: Path) -> None:
    """Write a value as ``torch.save`` does; whoever reads meanwhile, or after a failure, finds the file before it.

    Raises:
        OSError: The file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")  # on the same disk, or else renaming would copy
    try:
        # To an open file: given a path, PyTorch's own writer does not say that the disk is full.
        with unfinished.open("wb") as file:
            torch.save(value, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole: Lightning's own writes to the system's temporary folder, and copies from there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            ArgumentError: The disk is full.
        """
        if "://" in str(path):  # of a store, which has its own way
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_whole(checkpoint, path)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            earlier = "the one before it is kept" if path.exists() else "there is none before it"
            sentence = f"{path} cannot be written ({error.strerror}), {earlier}; free some space, and resume"
            raise ArgumentError("runs", sentence=f"{sentence} with --ckpt_path last") from error


def use_whole_checkpoints(trainer: Trainer) -> None:
    """Let a trainer write checkpoints whole, unless it was given a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()
