"""Files and folders that are written whole or not at all: a full disk or a kill leaves what was there before."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

LEFT_OVER = 60.0
"""Seconds: younger files may be those of a writer that has not locked them yet."""


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; whoever reads meanwhile, or after a failure, finds the file that was there before.

    Raises:
        OSError: The file cannot be written; names it.
    """
    unfinished = _beside(path)
    try:
        with _naming(path, unfinished):
            with unfinished.open("wb") as file:
                with suppress(OSError):  # of a file system that knows no locks
                    _lock(file)
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yield a folder to write files into, which becomes ``path`` at the end; after a failure nothing is left.

    Args:
        path: A folder that does not exist, or is empty.

    Raises:
        OSError: It cannot be written, or is not empty; names it or a file in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path)
    try:
        with _naming(path, unfinished):
            unfinished.mkdir()
            yield unfinished
            for file in unfinished.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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


@contextmanager
def _naming(path: Path, unfinished: Path) -> Iterator[None]:
    """Let an error of the disk name what is to be written: that of a write names nothing, or what is unfinished."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # else its text alone is shown, which a name would hide
            named = path if error.filename is None else error.filename
            error.filename = str(named).replace(str(unfinished), str(path))
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")  # on the same disk, or else renaming would copy
