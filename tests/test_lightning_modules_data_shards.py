"""WebDataset: shards, shared between workers and processes."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import timm.data.readers.reader_wds
import torch
from PIL import Image

from lightning_modules import ImageData
from lightning_modules.data.loaders import ShardLoader


@pytest.fixture
def shard_data(image_data):
    def make(root: Path, **kwargs) -> ImageData:
        data = image_data("wds/set", root, num_classes=3, **kwargs)
        data.setup("fit")
        return data

    return make


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_shards_are_evaluated_once_each(tmp_path, write_shards, shard_data, evaluated, num_workers):
    # Shards of unequal length: several workers end with an incomplete batch each.
    write_shards(tmp_path, {"train": [8], "validation": [4, 5]})
    data = shard_data(tmp_path, batch_size=3, num_workers=num_workers)
    loader = data.val_dataloader()
    pairs = evaluated(data, loader)
    assert sorted(pairs) == [(number, number % 3) for number in range(8, 17)]
    # Lightning stops at the length.
    assert len(loader) >= len(list(loader)) >= 3
    assert data.validates_on_test
    assert data.predict_items() == [str(i) for i in range(9)]
    # Numbers name images only in a fixed order, whatever the number of workers.
    assert [grey for grey, _ in evaluated(data, data.predict_dataloader())] == list(range(8, 17))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_shard_is_missing_from_training(tmp_path, write_shards, shard_data, num_workers):
    write_shards(tmp_path, {"train": [8], "val": [3], "eval": [3]})
    data = shard_data(tmp_path, num_workers=num_workers, val_split="val", test_split="eval")
    loader = data.train_dataloader()
    labels = torch.cat([labels for _, labels in loader])
    # A second worker would have no shard, and half of the epoch would be missing.
    assert sorted(labels.tolist()) == sorted(number % 3 for number in range(8))
    assert len(loader) == 2
    assert not data.validates_on_test


@pytest.mark.parametrize("drop_last", [False, True])
def test_last_training_batch_of_shards_is_filled(tmp_path, write_shards, shard_data, drop_last):
    write_shards(tmp_path, {"train": [6], "validation": [3]})
    data = shard_data(tmp_path, drop_last=drop_last)
    assert [len(labels) for _, labels in data.train_dataloader()] == [4, 4]
    assert len(data.train_dataloader()) == 2
    assert data.last_batch_size is None


def test_order_of_shards_follows_the_epoch(tmp_path, write_shards, shard_data):
    write_shards(tmp_path, {"train": [4] * 6, "validation": [3]})

    def orders(seed):
        loader = shard_data(tmp_path, seed=seed).train_dataloader()
        return [tuple(torch.cat([labels for _, labels in loader]).tolist()) for _ in range(3)]

    first = orders(0)
    assert first == orders(0)
    assert len({*first, *orders(1)}) == 6


def test_processes_share_the_shards_also_when_opened_before_they_know_of_each_other(tmp_path, write_shards, shard_data):
    write_shards(tmp_path, {"train": [4, 4], "validation": [3, 3]})
    data = shard_data(tmp_path)
    # Each loader as one of two processes would make it.
    parts = []
    for rank in range(2):
        loader = ShardLoader(data.splits.train, 4, training=True, seed=0, epoch=lambda: 3, rank=rank, world_size=2)
        data.splits.train.transform = lambda image: torch.tensor(image.getpixel((0, 0)))
        assert len(loader) == 1
        parts += torch.cat([pixels for pixels, _ in loader]).tolist()
    assert sorted(parts) == list(range(8))


@pytest.mark.parametrize("shards", [[3, 3], [5, 2, 1], [3]])
def test_processes_evaluate_each_image_of_shards_once(tmp_path, write_shards, shard_data, shards):
    write_shards(tmp_path, {"train": [4, 4], "validation": shards})
    data, found = shard_data(tmp_path), []
    for rank in range(2):
        loader = ShardLoader(data.splits.val, 4, training=False, seed=0, rank=rank, world_size=2)
        data.splits.val.transform = lambda image: torch.tensor(image.getpixel((0, 0)))
        batches = [pixels for pixels, _ in loader]
        assert len(batches) <= len(loader)
        found += torch.cat(batches).tolist() if batches else []
    assert sorted(found) == list(range(8, 8 + sum(shards)))


def test_split_as_a_pattern_of_shards(tmp_path, write_shards, shard_data, evaluated):
    write_shards(tmp_path, {"train": [4, 4], "validation": [3]})
    (tmp_path / "_info.json").unlink()
    data = shard_data(tmp_path, train_split="set-train-{0000..0001}.tar|8", val_split="set-validation-0000.tar|3")
    assert len(data.train_dataloader()) == 2
    assert len(evaluated(data, data.val_dataloader())) == 3


# What cannot be used

SHARDS = {
    "no_number_of_classes": (
        {"num_classes": None},
        "data.num_classes",
        "'wds/set' does not say how many classes it has",
        None,
    ),
    "unknown_training_split": ({"train_split": "trian"}, "data.train_split", "'trian'", "a split that exists"),
    "unknown_validation_split": ({"val_split": "dev"}, "data.val_split", "'dev'", "a split that exists, or null"),
    "no_validation": ({"val_split": None}, "data.val_split", "name a split here or as test_split", None),
    "val_fraction": ({"val_split": None, "val_fraction": 0.5}, "data.val_fraction", "0.5", "a val_split"),
    "val_fraction_beside_a_split": ({"val_fraction": 0.5}, "data.val_fraction", "0.5", "has a validation split"),
    "unknown_length": (
        {"val_split": "set-val-0000.tar"},
        "data.val_split",
        "'set-val-0000.tar', whose length",
        "SHARDS.tar|COUNT",
    ),
    "missing_shards": (
        {"train_split": "set-train-{0001..0003}.tar|9"},
        "data.root",
        "without 3 of 3 shards",
        "every shard",
    ),
    "reader_kwargs": ({"reader_kwargs": {"imput_key": "jpg"}}, "data.reader_kwargs", "imput_key", "arguments of"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), SHARDS.values(), ids=SHARDS)
def test_shards(tmp_path, raises, write_shards, image_data, kwargs, argument, got, need):
    write_shards(tmp_path, {"train": [3], "val": [3]})
    with raises(argument, got, need):
        image_data("wds/set", tmp_path, **{"num_classes": 2, "val_split": "val", **kwargs}).setup("fit")


def test_shards_in_a_folder_that_is_missing(tmp_path, raises, image_data):
    with raises("data.root", f"'{tmp_path / 'install'}', which does not exist", "a folder of shards"):
        image_data("wds/set", tmp_path / "install", num_classes=2).setup("fit")


def test_webdataset_is_not_installed(tmp_path, monkeypatch, raises, write_shards, image_data):
    write_shards(tmp_path, {"train": [3], "validation": [3]})
    monkeypatch.setattr(timm.data.readers.reader_wds, "wds", None)  # what timm's import leaves behind
    with raises("data.dataset", "'wds/set' (Please install", "pip install 'dyc[wds]'"):
        image_data("wds/set", tmp_path, num_classes=2).setup("fit")


def test_pixels_of_shards_are_read_as_those_of_files(tmp_path, write_shards, shard_data, evaluated, raises):
    write_shards(tmp_path, {"train": [8], "validation": [2]})

    def put(pixels: np.ndarray, kind: str) -> None:
        with tarfile.open(tmp_path / "set-validation-0000.tar", "w") as tar:
            for number in range(2):
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, kind)
                for extension, content in (("png", picture.getvalue()), ("cls", b"1")):
                    info = tarfile.TarInfo(f"{number:06d}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))

    put(np.full((40, 36), 200 * 257, np.uint16), "png")
    data = shard_data(tmp_path)
    assert evaluated(data, data.val_dataloader()) == [(200, 1)] * 2
    put(np.zeros((40, 36), np.float32), "tiff")
    data = shard_data(tmp_path)
    with raises("data.dataset", "an image whose pixels are floating-point numbers", "which value is white"):
        list(data.val_dataloader())
