"""Data that cannot be used: every message names the argument, what was got and what is needed."""

import io
import json
import pickle
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import timm.data.readers.reader_wds
from PIL import Image

from lightning_modules import ImageData
from ops import ArgumentError


@contextmanager
def raises(argument: str, got: str, need: str):
    """Expect an ArgumentError, which is a ValueError, with these parts of its message."""
    with pytest.raises(ArgumentError) as error:
        yield
    assert isinstance(error.value, ValueError)
    assert error.value.argument == argument
    before, after = str(error.value).split("; need ")
    assert before.startswith(f"{argument}: got ")
    assert got in before
    assert need in after


def write_classes(folder: Path, classes=("cat", "dog"), count: int = 2) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (8, 8)).save(folder / name / f"{i}.png")
    return folder


def write_shards(root: Path, **splits: int) -> None:
    """Write one shard per split, with a number of images in each."""
    root.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "png")
    info = {}
    for split, count in splits.items():
        with tarfile.open(root / f"{split}.tar", "w") as tar:
            for i in range(count):
                for extension, content in (("png", picture.getvalue()), ("cls", b"0")):
                    member = tarfile.TarInfo(f"{i}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        info[split] = {"name": split, "num_samples": count, "filenames": [f"{split}.tar"], "shard_lengths": [count]}
    (root / "_info.json").write_text(json.dumps({"splits": info}))


def set_up(dataset: str = "folder", root: Path | str = ".", **kwargs) -> ImageData:
    data = ImageData(dataset, str(root), image_size=8, num_workers=0, **kwargs)
    data.setup("fit")
    return data


# Arguments that are wrong whatever the data

ARGUMENTS = {
    "dataset_without_torch": ({"dataset": "cifar10"}, "data.dataset", "did you mean 'torch/cifar10'?", "'wds/NAME'"),
    "dataset_misspelt": ({"dataset": "torch/cifar1O"}, "data.dataset", "'torch/cifar10'", "'digits'"),
    "dataset_misspelt_digits": ({"dataset": "digit"}, "data.dataset", "did you mean 'digits'?", "'folder'"),
    "dataset_unlike_any": ({"dataset": "qqq"}, "data.dataset", "'qqq'", "'hfds/NAME'"),
    "dataset_prefix_only": ({"dataset": "wds/"}, "data.dataset", "'wds/'", "'wds/NAME'"),
    "batch_size": ({"batch_size": 0}, "data.batch_size", "0", "at least 1"),
    "eval_batch_size": ({"eval_batch_size": 0}, "data.eval_batch_size", "0", "at least 1"),
    "image_size": ({"image_size": 0}, "data.image_size", "0", "at least 1"),
    "num_classes": ({"num_classes": 0}, "data.num_classes", "0", "at least 1"),
    "num_workers": ({"num_workers": -1}, "data.num_workers", "-1", "at least 0"),
    "crop_padding": ({"crop_padding": -1}, "data.crop_padding", "-1", "at least 0"),
    "hflip": ({"hflip": 1.5}, "data.hflip", "1.5", "from 0 to 1"),
    "hflip_nan": ({"hflip": float("nan")}, "data.hflip", "nan", "from 0 to 1"),
    "erase_prob": ({"dataset": "folder", "erase_prob": -0.1}, "data.erase_prob", "-0.1", "from 0 to 1"),
    "crop_scale_zero": ({"crop_scale": (0.0, 1.0)}, "data.crop_scale", "(0.0, 1.0)", "0 < smallest <= largest"),
    "crop_scale_turned": ({"crop_scale": (1.0, 0.5)}, "data.crop_scale", "(1.0, 0.5)", "smallest <= largest"),
    "val_fraction_negative": ({"val_fraction": -0.1}, "data.val_fraction", "-0.1", "from 0 to below 1"),
    "val_fraction_everything": ({"val_fraction": 1.0}, "data.val_fraction", "1.0", "from 0 to below 1"),
    "mean_too_long": ({"mean": [0.5] * 3}, "data.mean / data.std", "(0.5, 0.5, 0.5)", "1 numbers each"),
    "mean_too_short": ({"dataset": "folder", "mean": [0.5]}, "data.mean / data.std", "(0.5,)", "3 numbers each"),
    "std_too_long": ({"std": [0.5, 0.5]}, "data.mean / data.std", "(0.5, 0.5)", "1 numbers each"),
    "std_zero": ({"std": [0.0]}, "data.std", "[0.0]", "positive"),
    "policy_in_memory": (
        {"auto_augment": "rand-m9-mstd0.5"},
        "data.auto_augment / data.erase_prob",
        "'rand-m9-mstd0.5' / 0.0 with 'digits'",
        "read image by image",
    ),
    "erasing_in_memory": (
        {"dataset": "torch/cifar10", "erase_prob": 0.2},
        "data.auto_augment / data.erase_prob",
        "None / 0.2 with 'torch/cifar10'",
        "read image by image",
    ),
    "policy_unknown": ({"dataset": "folder", "auto_augment": "autoaug"}, "data.auto_augment", "'autoaug'", "rand-m9"),
    "policy_misspelt": ({"dataset": "folder", "auto_augment": "rand-q9"}, "data.auto_augment", "'rand-q9'", "rand-m9"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(kwargs, argument, got, need):
    with raises(argument, got, need):
        ImageData(**kwargs)


# Folders


def empty_class(root: Path) -> None:
    write_classes(root / "train")
    (root / "train" / "bird").mkdir()


def unknown_class(root: Path) -> None:
    write_classes(root / "train")
    write_classes(root / "val", ("dog", "lion"))


def no_training_split(root: Path) -> None:
    write_classes(root / "val")
    write_classes(root / "test")


FOLDERS = {
    "missing": (lambda root: root.rmdir(), {}, "data.root", "which does not exist", "a folder of images"),
    "empty": (lambda root: None, {}, "data.root", "which is empty", "train/CLASS/IMAGE"),
    "files_only": (
        lambda root: Image.new("L", (8, 8)).save(root / "0.png"),
        {},
        "data.root",
        "without class folders",
        "one folder of images per class",
    ),
    "split_without_classes": (
        lambda root: (root / "train").mkdir(),
        {},
        "data.root",
        "train' without class folders",
        "one folder of images per class",
    ),
    "class_without_images": (empty_class, {}, "data.root", "for bird", ".png"),
    "classes_unknown_to_training": (unknown_class, {}, "data.root", "classes lion in", "training folder only"),
    "no_training_split": (no_training_split, {}, "data.root", "without a training split", "named train"),
    "no_validation": (lambda root: write_classes(root / "train"), {}, "data.val_fraction", "0", "neither a val nor"),
    "classes_without_validation": (write_classes, {}, "data.val_fraction", "0", "a share above 0"),
    "val_fraction_too_small": (write_classes, {"val_fraction": 0.1}, "data.val_fraction", "0.1", "more than 1/4"),
    "val_fraction_beside_a_split": (
        lambda root: [write_classes(root / split) for split in ("train", "val")],
        {"val_fraction": 0.5},
        "data.val_fraction",
        "0.5",
        "0, as the set has a validation split",
    ),
    "other_number_of_classes": (write_classes, {"num_classes": 3}, "data.num_classes", "3", "2, the classes of"),
}


@pytest.mark.parametrize(("write", "kwargs", "argument", "got", "need"), FOLDERS.values(), ids=FOLDERS)
def test_folders(tmp_path, write, kwargs, argument, got, need):
    root = tmp_path / "images"
    root.mkdir()
    write(root)
    with raises(argument, got, need):
        set_up(root=root, **kwargs)


def half_an_image() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "png")
    return file.getvalue()[: file.tell() // 2]


@pytest.mark.parametrize("content", [b"", b"not an image", half_an_image()], ids=["empty", "text", "truncated"])
def test_file_that_is_not_an_image(tmp_path, content):
    write_classes(tmp_path, count=3)
    damaged = tmp_path / "cat" / "1.png"
    damaged.write_bytes(content)
    data = set_up(root=tmp_path, val_fraction=0.2)
    # Whichever split it fell into; timm's own data set would serve the next image in its place.
    with raises("data.root", f"'{damaged}', which is damaged", "images only"):
        list(data.train_dataloader()) + list(data.val_dataloader())


# In memory


def test_digits_have_ten_classes():
    with raises("data.num_classes", "100", "10, the classes of 'digits'"):
        set_up("digits", num_classes=100)


def test_share_of_less_than_one_digit():
    with raises("data.val_fraction", "0.0001", "more than 1/1437"):
        set_up("digits", val_fraction=0.0001)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist"])
def test_missing_files(tmp_path, name):
    with raises("data.root", f"'{tmp_path}'", f"a folder with torch/{name}, undamaged, or --data.download true"):
        set_up(f"torch/{name}", tmp_path)


def test_damaged_cifar(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    # All files are there, and none is what the official checksum says.
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps({"data": [], "labels": []}))
    with raises("data.root", f"'{tmp_path}'", "undamaged, or --data.download true"):
        set_up("torch/cifar10", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"not a tensor"])
def test_damaged_mnist(tmp_path, content):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (folder / f"{split}-{kind}-ubyte").write_bytes(content)
    with raises("data.root", f"'{tmp_path}'", "undamaged"):
        set_up("torch/mnist", tmp_path)


def test_download_into_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with raises("data.download", "True, but torch/cifar10 failed", "network"):
        ImageData("torch/cifar10", str(tmp_path / "file" / "data"), download=True).prepare_data()


# WebDataset

SHARDS = {
    "no_number_of_classes": ({"num_classes": None}, "data.num_classes", "None", "'wds/set' does not tell it"),
    "unknown_training_split": ({"train_split": "trian"}, "data.train_split", "'trian'", "a split that exists"),
    "unknown_validation_split": ({"val_split": "dev"}, "data.val_split", "'dev'", "a split that exists, or null"),
    "no_validation": ({"val_split": None}, "data.val_split", "None", "the name of a split"),
    "val_fraction": ({"val_split": None, "val_fraction": 0.5}, "data.val_fraction", "0.5", "a val_split"),
    "val_fraction_beside_a_split": ({"val_fraction": 0.5}, "data.val_fraction", "0.5", "has a validation split"),
    "unknown_length": ({"val_split": "val.tar"}, "data.val_split", "'val.tar', whose length", "SHARDS.tar|COUNT"),
    "missing_shards": ({"train_split": "train-{0..2}.tar|9"}, "data.root", "without 3 of 3 shards", "every shard"),
    "reader_kwargs": ({"reader_kwargs": {"imput_key": "jpg"}}, "data.reader_kwargs", "imput_key", "arguments of"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), SHARDS.values(), ids=SHARDS)
def test_shards(tmp_path, kwargs, argument, got, need):
    write_shards(tmp_path, train=3, val=3)
    with raises(argument, got, need):
        set_up("wds/set", tmp_path, **{"num_classes": 2, "val_split": "val", **kwargs})


def test_shards_in_a_folder_that_is_missing(tmp_path):
    with raises("data.root", f"'{tmp_path / 'install'}', which does not exist", "a folder of shards"):
        set_up("wds/set", tmp_path / "install", num_classes=2)


def test_webdataset_is_not_installed(tmp_path, monkeypatch):
    write_shards(tmp_path, train=3, validation=3)
    monkeypatch.setattr(timm.data.readers.reader_wds, "wds", None)  # what timm's import leaves behind
    with raises("data.dataset", "'wds/set' (Please install", "pip install 'dyc[wds]'"):
        set_up("wds/set", tmp_path, num_classes=2)


# Hugging Face


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Keep the Hugging Face libraries off the network and out of the home folder."""
    for name, value in (("HF_HOME", str(tmp_path / "home")), ("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1")):
        monkeypatch.setenv(name, value)
    write_classes(tmp_path / "set" / "train")
    return tmp_path / "set"


HUB = {
    "no_such_split": ({}, "data.val_split", "'validation'", "a split that exists, or null"),
    "no_validation": ({"val_split": None}, "data.val_split", "None", "the name of a split"),
    "other_number_of_classes": ({"val_split": None, "num_classes": 5}, "data.num_classes", "5", "2, the classes of"),
    "no_such_column": (
        {"val_split": None, "reader_kwargs": {"target_key": "fine_label"}},
        "data.reader_kwargs",
        "target_key 'fine_label'",
        "one of 'image', 'label'",
    ),
    "no_such_image_column": (
        {"val_split": None, "reader_kwargs": {"input_key": "img"}},
        "data.reader_kwargs",
        "input_key 'img'",
        "one of 'image', 'label'",
    ),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), HUB.values(), ids=HUB)
def test_hub_sets(hub_folder, kwargs, argument, got, need):
    with raises(argument, got, need):
        set_up(f"hfds/{hub_folder}", hub_folder.parent / "cache", **kwargs)


def test_damaged_image_of_a_hub_set(hub_folder):
    (hub_folder / "train" / "cat" / "1.png").write_bytes(b"not an image")
    data = set_up(f"hfds/{hub_folder}", hub_folder.parent / "cache", val_split=None, val_fraction=0.5)
    with raises("data.dataset", "which is damaged", "images only"):
        list(data.train_dataloader()) + list(data.val_dataloader())


def test_datasets_is_not_installed(hub_folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails
    with raises("data.dataset", "import of datasets halted", "pip install 'dyc[hfds]'"):
        set_up(f"hfds/{hub_folder}", hub_folder.parent / "cache")


# Prediction


def test_predict_folder_that_is_missing(tmp_path):
    data = set_up("digits", predict_folder=str(tmp_path / "none"))
    with raises("data.predict_folder", "none', which does not exist", "a folder of images"):
        data.predict_dataloader()


def test_predict_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    data = set_up("digits", predict_folder=str(tmp_path))
    with raises("data.predict_folder", "without images", "a folder with images"):
        data.predict_dataloader()


def test_predict_folder_with_a_file_that_is_not_an_image(tmp_path):
    (tmp_path / "0.png").write_bytes(b"not an image")
    data = set_up("digits", predict_folder=str(tmp_path))
    with raises("data.predict_folder", f"'{tmp_path / '0.png'}', which is damaged", "images only"):
        list(data.predict_dataloader())
