"""Every kind of data set, from small files in its own format, through the loaders and a Trainer."""

import csv
import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from lightning_modules import ImageClassifier, ImageData, PredictionTable
from lightning_modules.callbacks import EpochSeed
from lightning_modules.data.catalog import IN_MEMORY
from lightning_modules.data.loaders import ShardLoader

CLASSES = ("class1", "class2", "class10")  # in natural order, which is not that of the alphabet


def trainer(folder: Path, callbacks=(), **kwargs) -> Trainer:
    options = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 2, "logger": False, **kwargs}
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )


def classifier() -> ImageClassifier:
    return ImageClassifier("test_efficientnet")


def images_data(dataset: str, **kwargs) -> ImageData:
    return ImageData(dataset, **{"batch_size": 4, "image_size": 32, "num_workers": 0, **kwargs})


def write_image(path: Path, grey: int, mode: str = "RGB") -> None:
    """Write an image of one grey, which no crop, flip or resize can change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 36), grey).convert(mode).save(path)


def write_classes(folder: Path, count: int = 4, classes=CLASSES) -> None:
    """Write images whose grey is 20 times their class plus their number."""
    for label, name in enumerate(classes):
        for i in range(count):
            write_image(folder / name / f"{i}.png", 20 * label + i)


def greys(data: ImageData, images: torch.Tensor) -> list[int]:
    """Undo the normalisation of images of one grey."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    pixels = (images * std + mean) * 255
    assert float(pixels.amax((1, 2, 3)).sub(pixels.amin((1, 2, 3))).max()) < 0.01
    return pixels.mean((1, 2, 3)).round().int().tolist()


def evaluated(data: ImageData, loader) -> list[tuple[int, int]]:
    """List grey and label of each image of a pass."""
    return [pair for images, labels in loader for pair in zip(greys(data, images), labels.tolist())]


# In memory


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


def test_batches_in_memory_are_augmented_in_training_only(tmp_path):
    class Recorder(Callback):
        def __init__(self):
            self.found = {}

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.found["train", batch_idx] = batch

        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            self.found["val", batch_idx] = batch

    recorder, data = Recorder(), ImageData("digits", batch_size=8, image_size=32)
    trainer(tmp_path, [recorder]).fit(classifier(), data)
    for stage, loader, plain in (("train", data.train_dataloader(), False), ("val", data.val_dataloader(), True)):
        loader.epoch = lambda: 0
        images, labels = next(iter(loader))
        found, found_labels = recorder.found[stage, 0]
        assert torch.equal(found_labels, labels)
        expected = (images / 255 - data.mean[0]) / data.std[0]
        assert torch.allclose(found, expected, atol=1e-5) is plain


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


def write_fashion_mnist(root: Path, compressed: bool = False) -> np.ndarray:
    """Write a small set in MNIST's format; return the training images."""
    rng, folder = np.random.default_rng(0), root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    found = {}
    for split, count in (("train", 12), ("t10k", 5)):
        found[split] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", found[split]), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            content = head + values.tobytes()
            (folder / f"{split}-{kind}-ubyte").write_bytes(gzip.compress(content) if compressed else content)
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


# Folders


def test_folder_with_three_splits(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 2)
    write_classes(tmp_path / "test", 3, CLASSES[1:])  # a split may lack classes: labels are those of training
    data = images_data("folder", root=str(tmp_path))
    data.setup("fit")
    assert data.class_names == list(CLASSES)
    assert (data.num_classes, data.in_chans) == (3, 3)
    assert evaluated(data, data.val_dataloader()) == [(20 * label + i, label) for label in range(3) for i in range(2)]
    assert evaluated(data, data.test_dataloader()) == [(20 * k + i, k + 1) for k in range(2) for i in range(3)]
    assert not data.validates_on_test
    batches = list(data.train_dataloader())
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 32, 32)] * 3
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("parent", ["train", "training", "."])
def test_folder_without_validation_holds_out_a_share(tmp_path, parent):
    write_classes(tmp_path / parent, 10)
    data = images_data("folder", root=str(tmp_path), val_fraction=0.2)
    data.setup("fit")
    assert (len(data.splits.train), len(data.splits.val)) == (24, 6)
    assert data.splits.test is data.splits.val
    assert not set(data.splits.train.indices) & set(data.splits.val.indices)
    pairs = evaluated(data, data.val_dataloader())
    assert len(pairs) == 6
    assert all(grey // 20 == label for grey, label in pairs)
    # What is predicted has the names of its files, in the order that is served.
    names = [Path(item) for item in data.predict_items()]
    assert [CLASSES.index(path.parent.name) for path in names] == [label for _, label in pairs]
    assert [20 * label + int(path.stem) for path, (_, label) in zip(names, pairs)] == [grey for grey, _ in pairs]


def test_sub_folders_belong_to_their_class(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / split / "cat" / "siamese" / "0.png", 1)
        write_image(tmp_path / split / "cat" / "0.png", 2)
        write_image(tmp_path / split / "dog" / "siamese" / "0.png", 3)
    data = images_data("folder", root=str(tmp_path))
    data.setup("fit")
    assert data.class_names == ["cat", "dog"]
    assert sorted(evaluated(data, data.val_dataloader())) == [(1, 0), (2, 0), (3, 1)]
    assert len(data.splits.train) == 3


def test_classes_may_be_named_like_splits(tmp_path):
    # timm's factory would take the class "valid" for a split, and find one class in it.
    write_classes(tmp_path / "train", classes=("invalid", "valid"))
    data = images_data("folder", root=str(tmp_path), val_fraction=0.5)
    data.setup("fit")
    assert data.class_names == ["invalid", "valid"]
    assert len(data.splits.train) + len(data.splits.val) == 8


def test_stray_and_hidden_files_are_no_class(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    write_image(tmp_path / "train" / "preview.png", 0)
    write_image(tmp_path / "train" / ".thumbnails" / "0.png", 0)
    write_image(tmp_path / "train" / "class1" / ".thumbnails" / "0.png", 0)
    (tmp_path / "train" / "class1" / "._0.png").write_bytes(b"resource fork of macOS")
    (tmp_path / "train" / "class1" / "notes.txt").write_text("not an image")
    data = images_data("folder", root=str(tmp_path))
    data.setup("fit")
    assert data.num_classes == 3
    assert len(data.splits.train) == 12


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_every_mode_of_pixels_becomes_rgb(tmp_path, mode):
    image = Image.new("L", (40, 36), 255).convert(mode)
    for split in ("train", "val"):
        (tmp_path / split / "one").mkdir(parents=True)
        image.save(tmp_path / split / "one" / "0.png")
    data = images_data("folder", root=str(tmp_path))
    data.setup("fit")
    assert evaluated(data, data.val_dataloader()) == [(255, 0)]


def test_order_of_single_images_depends_on_seed_and_epoch_only(tmp_path):
    write_classes(tmp_path / "train", 8)
    write_classes(tmp_path / "val", 1)

    def orders(seed, noise):
        torch.manual_seed(noise)
        data = images_data("folder", root=str(tmp_path), seed=seed)
        data.setup("fit")
        loader = data.train_dataloader()
        return [tuple(label for _, labels in loader for label in labels.tolist()) for _ in range(2)]

    first = orders(0, 0)
    assert first == orders(0, 1)
    assert len({*first, *orders(1, 0)}) == 4


# WebDataset


def write_shards(root: Path, shards: dict[str, list[int]]) -> None:
    """Write shards of images; a sample's grey is its number, its class the number modulo 3."""
    root.mkdir(parents=True, exist_ok=True)
    splits, number = {}, 0
    for split, lengths in shards.items():
        files = [f"set-{split}-{i:04d}.tar" for i in range(len(lengths))]
        for file, length in zip(files, lengths):
            with tarfile.open(root / file, "w") as tar:
                for _ in range(length):
                    buffer = io.BytesIO()
                    Image.new("L", (40, 36), number).save(buffer, "png")
                    for extension, content in (("png", buffer.getvalue()), ("cls", str(number % 3).encode())):
                        info = tarfile.TarInfo(f"{number:06d}.{extension}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
                    number += 1
        splits[split] = {
            "name": split,
            "num_samples": sum(lengths),
            "filenames": files,
            "shard_lengths": lengths,
        }
    (root / "_info.json").write_text(json.dumps({"splits": splits}))


def shard_data(root: Path, **kwargs) -> ImageData:
    data = images_data("wds/set", root=str(root), num_classes=3, **kwargs)
    data.setup("fit")
    return data


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_shards_are_evaluated_once_each(tmp_path, num_workers):
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
def test_no_shard_is_missing_from_training(tmp_path, num_workers):
    write_shards(tmp_path, {"train": [8], "val": [3], "eval": [3]})
    data = shard_data(tmp_path, num_workers=num_workers, val_split="val", test_split="eval")
    loader = data.train_dataloader()
    labels = torch.cat([labels for _, labels in loader])
    # A second worker would have no shard, and half of the epoch would be missing.
    assert sorted(labels.tolist()) == sorted(number % 3 for number in range(8))
    assert len(loader) == 2
    assert not data.validates_on_test


def test_order_of_shards_follows_the_epoch(tmp_path):
    write_shards(tmp_path, {"train": [4] * 6, "validation": [3]})

    def orders(seed):
        loader = shard_data(tmp_path, seed=seed).train_dataloader()
        return [tuple(torch.cat([labels for _, labels in loader]).tolist()) for _ in range(3)]

    first = orders(0)
    assert first == orders(0)
    assert len({*first, *orders(1)}) == 6


def test_processes_share_the_shards_also_when_opened_before_they_know_of_each_other(tmp_path):
    write_shards(tmp_path, {"train": [4, 4], "validation": [3, 3]})
    data = shard_data(tmp_path)
    # Each loader as one of two processes would make it.
    parts = []
    for rank in range(2):
        loader = ShardLoader(data.splits.train, 4, training=True, seed=0, epoch=lambda: 3, rank=rank, world_size=2)
        data.splits.train.transform = lambda image: torch.tensor(image.getpixel((0, 0))[0])
        assert len(loader) == 1
        parts += torch.cat([pixels for pixels, _ in loader]).tolist()
    assert sorted(parts) == list(range(8))


def test_split_as_a_pattern_of_shards(tmp_path):
    write_shards(tmp_path, {"train": [4, 4], "validation": [3]})
    (tmp_path / "_info.json").unlink()
    data = shard_data(tmp_path, train_split="set-train-{0000..0001}.tar|8", val_split="set-validation-0000.tar|3")
    assert len(data.train_dataloader()) == 2
    assert len(evaluated(data, data.val_dataloader())) == 3


# Hugging Face


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Keep the Hugging Face libraries off the network and out of the home folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    folder = tmp_path / "set"
    write_classes(folder / "train")
    write_classes(folder / "test", 2)
    return folder


def hub_data(folder: Path, **kwargs) -> ImageData:
    options = {"root": str(folder.parent / "cache"), "val_split": None, "test_split": "test", **kwargs}
    return images_data(f"hfds/{folder}", **options)


def test_hub_set(hub_folder):
    data = hub_data(hub_folder)
    data.setup("fit")
    # The order of the names is that of the data set, which sorts by the alphabet.
    assert data.class_names == ["class1", "class10", "class2"]
    assert data.num_classes == 3
    assert data.validates_on_test
    pairs = evaluated(data, data.test_dataloader())
    assert len(pairs) == 6
    assert all(CLASSES[grey // 20] == data.class_names[label] for grey, label in pairs)
    assert [Path(name).is_file() for name in data.predict_items()] == [True] * 6
    assert len(list(data.train_dataloader())) == 3
    held = hub_data(hub_folder, val_fraction=0.25)
    held.setup("fit")
    assert (len(held.splits.train), len(held.splits.val), len(held.splits.test)) == (9, 3, 6)
    assert not held.validates_on_test
    # A folder can be named with a slash at its end.
    assert ImageData(f"hfds/{hub_folder}/").dataset.endswith("/")


# Through a Trainer


def make(kind: str, tmp_path: Path, hub_folder: Path, **kwargs) -> ImageData:
    if kind == "hfds":
        return hub_data(hub_folder, **kwargs)
    if kind == "wds":
        write_shards(tmp_path / "shards", {"train": [8, 4], "validation": [3, 3]})
        return images_data("wds/set", root=str(tmp_path / "shards"), num_classes=3, **kwargs)
    write_classes(tmp_path / "images" / "train")
    write_classes(tmp_path / "images" / "val", 2)
    return images_data("folder", root=str(tmp_path / "images"), **kwargs)


class Recorder(Callback):
    """Keep the training batches of each epoch."""

    def __init__(self):
        self.epochs = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epochs.setdefault(trainer.current_epoch, []).append([part.clone() for part in batch])


# The order is repeated and so is augmentation, in this process and in workers.
@pytest.mark.parametrize(("kind", "num_workers"), [("folder", 0), ("folder", 1), ("wds", 0), ("wds", 1), ("hfds", 0)])
def test_fit_and_resume(tmp_path, hub_folder, kind, num_workers):
    def run(epochs, ckpt_path=None):
        recorder = Recorder()
        data = make(kind, tmp_path, hub_folder, num_workers=num_workers, auto_augment="rand-m9-mstd0.5")
        run_trainer = trainer(tmp_path, [EpochSeed(0), recorder], max_epochs=epochs, limit_val_batches=1.0)
        run_trainer.fit(classifier(), data, ckpt_path=ckpt_path)
        assert run_trainer.callback_metrics["val/top1"] <= 1
        assert run_trainer.global_step == 2 * epochs
        return run_trainer, recorder.epochs

    _, whole = run(2)
    first, part = run(1)
    first.save_checkpoint(tmp_path / "one.ckpt")
    _, rest = run(2, tmp_path / "one.ckpt")
    assert rest.keys() == {1}
    for epoch, found in ((0, part[0]), (1, rest[1])):
        for (images, labels), (expected, expected_labels) in zip(found, whole[epoch]):
            assert torch.equal(labels, expected_labels)
            assert torch.equal(images, expected)
    assert not torch.equal(whole[0][0][0], whole[1][0][0])


def predict(tmp_path: Path, data: ImageData) -> list[dict[str, str]]:
    table = tmp_path / "out" / "predictions.csv"
    trainer(tmp_path, [PredictionTable(table)]).predict(classifier(), data, return_predictions=False)
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_a_folder_with_folders(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    pictures = tmp_path / "pictures"
    names = [pictures / name for name in ("0.png", "a/1.png", "a/b/2.JPG", "c/3.jpeg", "c/4.png")]
    for i, name in enumerate(names):
        write_image(name, i)
    (pictures / "notes.txt").write_text("not an image")
    data = images_data("folder", root=str(tmp_path), predict_folder=str(pictures), batch_size=2)
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == [str(name) for name in names]
    for row in rows:
        assert {row["class1"], row["class2"], row["class3"]} == set(CLASSES)
        assert sum(float(row[f"probability{k}"]) for k in (1, 2, 3)) == pytest.approx(1, abs=1e-5)


def test_a_set_of_grey_images_predicts_a_folder_of_coloured_ones(tmp_path):
    for i in range(3):
        write_image(tmp_path / f"{i}.png", 100 + i)
    data = ImageData("digits", batch_size=2, image_size=32, num_workers=0, predict_folder=str(tmp_path))
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == [str(tmp_path / f"{i}.png") for i in range(3)]
    assert [tuple(images.shape) for images, _ in data.predict_dataloader()] == [(2, 1, 32, 32), (1, 1, 32, 32)]
    assert evaluated(data, data.predict_dataloader()) == [(100 + i, -1) for i in range(3)]


@pytest.mark.parametrize("kind", ["folder", "wds", "hfds"])
def test_predict_the_test_split(tmp_path, hub_folder, kind):
    data = make(kind, tmp_path, hub_folder)
    rows = predict(tmp_path, data)
    assert [row["image"] for row in rows] == data.predict_items()
    assert len(rows) == 6
