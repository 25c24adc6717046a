"""Files are written whole or not at all."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from lightning_modules import ImageClassifier, ImageData
from lightning_modules.callbacks import BestCheckpoint, LastCheckpoint
from lightning_modules.whole_files import WholeCheckpoints, copy_whole, remove_unfinished, save_whole, written_whole


@pytest.fixture
def full_disk(monkeypatch):
    """Let a value be written to half before the disk is full."""

    def stop(value, file):
        file.write(b"half a file")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(torch, "save", stop)


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path, full_disk):
    path = tmp_path / "value.pt"
    save_whole({"value": 1}, path)
    full_disk()
    with pytest.raises(OSError, match="No space left on device"):
        save_whole({"value": 2}, path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.load(path) == {"value": 1}


def test_a_copy_that_cannot_be_finished_leaves_the_one_before(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    copy_whole(old, new)
    assert new.read_bytes() == b"old"
    old.write_bytes(b"newer")

    def stop(source, file):
        file.write(b"ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", stop)
    with pytest.raises(OSError, match="No space left on device"):
        copy_whole(old, new)
    assert new.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("pieces", [1, 40])
def test_a_disk_that_takes_a_part_only(tmp_path, pieces):
    path = tmp_path / "value.pt"
    save_whole({"value": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        # PyTorch itself raises a RuntimeError that names positions in the file.
        with pytest.raises(OSError, match="File too large"):
            save_whole([torch.zeros(200_000 // pieces) for _ in range(pieces)], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert torch.load(path) == {"value": 1}


def test_what_a_killed_writer_left_is_removed_later(tmp_path):
    path = tmp_path / "last.ckpt"
    save_whole({"value": 1}, path)
    left, young = (path.with_name(f"last.ckpt.{digit * 32}") for digit in "ab")
    for each in (left, young, tmp_path / "last.ckpt.mine"):
        each.write_bytes(b"half a file")
    with written_whole(path) as file:
        (own,) = {each for each in tmp_path.iterdir() if Path(file.name) == each}
        for each in (left, own, tmp_path / "last.ckpt.mine", path):
            os.utime(each, (0, 0))
        remove_unfinished(tmp_path)
        assert own.exists()
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert {each.name for each in tmp_path.iterdir()} == {"last.ckpt", young.name, "last.ckpt.mine"}


def trainer(folder: Path, epochs: int, callbacks, **kwargs) -> Trainer:
    return Trainer(
        max_epochs=epochs, callbacks=callbacks, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_train_batches=1, limit_val_batches=1, default_root_dir=folder, **kwargs,
    )  # fmt: skip


def test_a_full_disk_ends_training_with_one_line_and_keeps_the_checkpoint(tmp_path, full_disk, raises):
    folder = tmp_path / "checkpoints"
    model, data = ImageClassifier("test_resnet"), ImageData("digits", image_size=32, batch_size=4)
    trainer(tmp_path, 1, [BestCheckpoint(folder), LastCheckpoint(folder)]).fit(model, data)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {"best.ckpt", "last.ckpt"}
    full_disk()
    more = trainer(tmp_path, 2, [LastCheckpoint(folder)])
    with raises("runs", "last.ckpt cannot be written (No space left on device), the one before it is kept; free some"):
        more.fit(model, data, ckpt_path=folder / "last.ckpt")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_way_to_write_checkpoints_is_kept(tmp_path):
    for plugin, expected in ((None, WholeCheckpoints), (AsyncCheckpointIO(), AsyncCheckpointIO)):
        own = trainer(tmp_path, 1, [LastCheckpoint(tmp_path)], plugins=plugin)
        own.callbacks[-1].setup(own, ImageClassifier("test_resnet"), "fit")
        assert type(own.strategy.checkpoint_io) is expected
