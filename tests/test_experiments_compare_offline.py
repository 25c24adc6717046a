"""A run read from its folder and from W&B's files is the same run."""

import os
import shutil
from contextlib import redirect_stdout
from io import StringIO

import pytest
from support.wandb_file import read_run

from experiments.compare.folders import run_folders
from experiments.compare.offline import offline_files, read_offline, records
from lightning_modules.cli import main

FIT = [
    "fit", "--name=tiny/seed0", "--model.model=test_resnet", "--model.dynamic=dyc",
    "--model.dynamic.where=all_but_stem", "--data.image_size=32", "--data.val_fraction=0.1", "--data.batch_size=16",
    "--trainer.accelerator=cpu", "--trainer.max_epochs=2", "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false",
    "--trainer.enable_checkpointing=false", "--wandb=offline",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with a metrics.csv and W&B's files, and a folder with nothing but the latter."""
    place, before = tmp_path_factory.mktemp("trained"), os.getcwd()
    os.chdir(place)
    try:
        with redirect_stdout(StringIO()):
            assert main(FIT) == 0
    finally:
        os.chdir(before)
    folder = place / "runs/tiny/seed0/version_0"
    read_run(offline_files(folder)[0].parent)  # waits for W&B's service to write the end
    copy = place / "only_wandb/version_0"
    shutil.copytree(folder / "wandb", copy / "wandb")
    return folder, copy


def compare(capsys, folder):
    assert main(["compare", str(folder)]) == 0
    return capsys.readouterr().out


def test_the_table_is_that_of_the_folder(trained, capsys):
    folder, copy = trained
    table = compare(capsys, folder)
    assert "tiny " in table
    assert " 1,573,002 " in table
    assert compare(capsys, copy) == table
    assert compare(capsys, offline_files(copy)[0].parent) == table
    own = read_offline(copy)
    assert own.name == "tiny/seed0/version_0"
    assert set(own.curves["val/top1"]) == set(own.curves["attention/entropy"]) == {1, 2}


def test_a_file_that_is_still_written_is_read_as_far_as_it_goes(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "going")
    (path,) = offline_files(tmp_path / "going")
    whole = list(records(path))
    path.write_bytes(path.read_bytes()[:-5])
    assert list(records(path)) == whole[:-1]
    run = read_offline(tmp_path / "going")
    assert run.state == "running"
    assert run.settings["model"] == "test_resnet"


def test_runs_that_share_a_folder_of_wandb_are_runs_of_their_own(trained, tmp_path):
    source = offline_files(trained[1])[0].parent
    for key in ("a", "b"):
        folder = tmp_path / f"here/wandb/offline-run-2026-{key}"
        shutil.copytree(source, folder)
        offline_files(folder)[0].rename(folder / f"run-{key}.wandb")
    (tmp_path / "here/wandb/back").symlink_to(tmp_path)
    assert [folder.name[-1] for folder in run_folders(tmp_path / "here")] == ["a", "b"]


def test_a_damaged_file_is_named(trained, tmp_path, capsys):
    shutil.copytree(trained[1], tmp_path / "damaged")
    (path,) = offline_files(tmp_path / "damaged")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert main(["compare", str(tmp_path)]) == 2
    assert f"{path.name}: it is damaged at byte " in capsys.readouterr().err
    path.write_bytes(b"no file of W&B")
    assert main(["compare", str(tmp_path)]) == 2
    assert f"{path.name}: it is not a file of W&B" in capsys.readouterr().err


def test_long_records_run_over_blocks(tmp_path):
    import struct
    import zlib

    def part(kind, data):
        return struct.pack("<IHB", zlib.crc32(data, zlib.crc32(bytes([kind]))), len(data), kind) + data

    first = b"a" * (32768 - 7 - 7 - 3 - 7 - 3)
    blocks = b":W&B\xe1\xbe\x00" + part(1, first) + part(1, b"xyz") + b"\0" * 3
    assert len(blocks) == 32768
    blocks += part(2, b"b" * (32768 - 7)) + part(4, b"cd")
    (tmp_path / "run-1.wandb").write_bytes(blocks)
    assert list(records(tmp_path / "run-1.wandb")) == [first, b"xyz", b"b" * (32768 - 7) + b"cd"]
