"""Sets in memory: digits, and small files in the formats of CIFAR and MNIST."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from lightning_modules import ImageData
from lightning_modules.data.catalog import IN_MEMORY


def test_digits():
    data = ImageData("digits")
    data.setup("fit")
    train, test = data.splits.train, data.splits.test
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.images.dtype == torch.uint8
    assert (data.num_classes, data.in_chans, data.image_size) == (10, 1, 8)
    shares = [split.labels.bincount() / len(split) for split in (train, test)]
    assert float((shares[0] - shares[1]).abs().max()) < 0.002
    again = ImageData("digits", seed=5)
    again.setup("fit")
    assert torch.equal(again.splits.test.images, test.images)
    pixels = train.images.double() / 255
    known = IN_MEMORY["digits"]
    assert known.mean == (round(float(pixels.mean()), 4),)
    assert known.std == (round(float(pixels.std(correction=0)), 4),)


def test_held_out_digits_are_a_partition_that_the_seed_decides():
    def held_out(seed):
        data = ImageData("digits", val_fraction=0.1, seed=seed)
        data.setup("fit")
        assert (len(data.splits.train), len(data.splits.val), len(data.splits.test)) == (1294, 143, 360)
        assert not data.validates_on_test
        return data.splits.val.images

    assert torch.equal(held_out(0), held_out(0))
    assert not torch.equal(held_out(0), held_out(1))


def write_cifar(root: Path, cls: type, count: int, monkeypatch) -> np.ndarray:
    """Write a small set in CIFAR's format; return the images of the first training file."""
    rng = np.random.default_rng(0)
    labels = "labels" if cls is CIFAR10 else "fine_labels"
    folder = root / cls.base_folder
    folder.mkdir(parents=True)
    names = [name for name, _ in cls.train_list + cls.test_list]
    pixels = {name: rng.integers(0, 256, (count, 3072), dtype=np.uint8) for name in names}
    for name in names:
        (folder / name).write_bytes(pickle.dumps({"data": pixels[name], labels: [i % 10 for i in range(count)]}))
    meta = {cls.meta["key"]: [str(i) for i in range(10)]}
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps(meta))
    # The checksums of the official files cannot be those of small ones.
    monkeypatch.setattr(cls, "train_list", [[name, None] for name, _ in cls.train_list])
    monkeypatch.setattr(cls, "test_list", [[name, None] for name, _ in cls.test_list])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": None})
    return pixels[names[0]]


@pytest.mark.parametrize(
    ("name", "cls", "classes", "files"), [("cifar10", CIFAR10, 10, 5), ("cifar100", CIFAR100, 100, 1)]
)
def test_cifar(tmp_path, monkeypatch, name, cls, classes, files):
    pixels = write_cifar(tmp_path, cls, 10, monkeypatch)
    data = ImageData(f"torch/{name}", str(tmp_path), batch_size=4)
    data.prepare_data()
    data.setup("fit")
    assert (data.num_classes, data.in_chans, data.image_size) == (classes, 3, 32)
    assert (len(data.splits.train), len(data.splits.test)) == (10 * files, 10)
    # CIFAR's rows are three planes of 32 x 32.
    assert np.array_equal(data.splits.train.images[:10].numpy(), pixels.reshape(10, 3, 32, 32))
    assert data.splits.train.labels[:10].tolist() == list(range(10))
    assert data.validates_on_test
    assert [len(labels) for _, labels in data.val_dataloader()] == [4, 4, 2]


def write_fashion_mnist(root: Path) -> np.ndarray:
    """Write a small set in MNIST's format; return the training images."""
    rng, folder = np.random.default_rng(0), root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    found = {}
    for split, count in (("train", 12), ("t10k", 5)):
        found[split] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", found[split]), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (folder / f"{split}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return found["train"]


def test_fashion_mnist(tmp_path):
    pixels = write_fashion_mnist(tmp_path)
    data = ImageData("torch/fashion_mnist", str(tmp_path), batch_size=4, image_size=32)
    data.setup("fit")
    assert (data.num_classes, data.in_chans, data.image_size) == (10, 1, 32)
    assert data.splits.train.images.shape == (12, 1, 32, 32)
    assert data.splits.test.labels.tolist() == [0, 1, 2, 3, 4]
    own = ImageData("torch/fashion_mnist", str(tmp_path))
    own.setup("fit")
    assert np.array_equal(own.splits.train.images[:, 0].numpy(), pixels)


# What cannot be used


def test_digits_have_ten_classes(raises, image_data):
    with raises("data.num_classes", "100", "10, the classes of 'digits'"):
        image_data("digits", num_classes=100).setup("fit")


def test_share_of_less_than_one_digit(raises, image_data):
    with raises("data.val_fraction", "0.0001", "more than 1/1437"):
        image_data("digits", val_fraction=0.0001).setup("fit")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist"])
def test_missing_files(tmp_path, raises, image_data, name):
    with raises("data.root", f"'{tmp_path}'", f"a folder with torch/{name}, undamaged, or --data.download true"):
        image_data(f"torch/{name}", tmp_path).setup("fit")


def test_damaged_cifar(tmp_path, raises, image_data):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    # All files are there, and none is what the official checksum says.
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps({"data": [], "labels": []}))
    with raises("data.root", f"'{tmp_path}'", "undamaged, or --data.download true"):
        image_data("torch/cifar10", tmp_path).setup("fit")


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"not a tensor"])
def test_damaged_mnist(tmp_path, raises, image_data, content):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{split}-{kind}-ubyte").write_bytes(content)
    with raises("data.root", f"'{tmp_path}'", "undamaged"):
        image_data("torch/mnist", tmp_path).setup("fit")


def test_download_into_a_place_that_cannot_be_written(tmp_path, raises):
    (tmp_path / "file").write_text("")
    with raises("data.download", "torch/cifar10 could not be downloaded ("):
        ImageData("torch/cifar10", str(tmp_path / "file" / "data"), download=True).prepare_data()
