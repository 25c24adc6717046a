"""Files that are written whole or not at all: a full disk or a kill leaves the one before."""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ops import ArgumentError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a user's share of it that is used up."""

LEFT_OVER = 60.0
"""Seconds: younger files may be those of a writer that has not locked them yet."""


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; whoever reads meanwhile, or after a failure, finds the file that was there before.

    Raises:
        OSError: The file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")  # on the same disk, or else renaming would copy
    try:
        with unfinished.open("wb") as file:
            with suppress(OSError):  # of a file system that knows no locks
                _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers have left in a folder, once it is a minute old, but nothing that is being written."""
    for path in folder.glob("*." + "[0-9a-f]" * 32):
        # An error means that it is finished now, is being written, or belongs to another user.
        with suppress(OSError), path.open("rb+") as file:
            _lock(file)
            if time.time() - path.stat().st_mtime > LEFT_OVER:
                path.unlink()


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed, or its process ends.

    Raises:
        OSError: Another process has it.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
            kept, resume = ", the one before it is kept", ", and resume with --ckpt_path last"
            sentence = f"{path} cannot be written ({error.strerror}){kept if path.exists() else ''}; free some space"
            raise ArgumentError("runs", sentence=sentence + (resume if path.exists() else "")) from error


def use_whole_checkpoints(trainer: Trainer) -> None:
    """Let a trainer write checkpoints whole, unless it was given a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()
