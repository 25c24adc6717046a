"""Folders of images: which files make which split and class."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def test_folder_with_three_splits(tmp_path, write_classes, class_names, image_data, evaluated):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 2)
    write_classes(tmp_path / "test", 3, class_names[1:])  # a split may lack classes: labels are those of training
    data = image_data("folder", tmp_path)
    data.setup("fit")
    assert data.class_names == class_names
    assert (data.num_classes, data.in_chans) == (3, 3)
    assert evaluated(data, data.val_dataloader()) == [(20 * label + i, label) for label in range(3) for i in range(2)]
    assert evaluated(data, data.test_dataloader()) == [(20 * k + i, k + 1) for k in range(2) for i in range(3)]
    assert not data.validates_on_test
    batches = list(data.train_dataloader())
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 32, 32)] * 3
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("parent", ["train", "training", "."])
def test_folder_without_validation_holds_out_a_share(
    tmp_path, write_classes, class_names, image_data, evaluated, parent
):
    write_classes(tmp_path / parent, 10)
    data = image_data("folder", tmp_path, val_fraction=0.2)
    data.setup("fit")
    assert (len(data.splits.train), len(data.splits.val)) == (24, 6)
    assert data.splits.test is data.splits.val
    assert not set(data.splits.train.indices) & set(data.splits.val.indices)
    pairs = evaluated(data, data.val_dataloader())
    assert len(pairs) == 6
    assert all(grey // 20 == label for grey, label in pairs)
    # What is predicted has the names of its files, in the order that is served.
    names = [Path(item) for item in data.predict_items()]
    assert [class_names.index(path.parent.name) for path in names] == [label for _, label in pairs]
    assert [20 * label + int(path.stem) for path, (_, label) in zip(names, pairs)] == [grey for grey, _ in pairs]


def test_sub_folders_belong_to_their_class(tmp_path, write_image, image_data, evaluated):
    for split in ("train", "val"):
        write_image(tmp_path / split / "cat" / "siamese" / "0.png", 1)
        write_image(tmp_path / split / "cat" / "0.png", 2)
        write_image(tmp_path / split / "dog" / "siamese" / "0.png", 3)
    data = image_data("folder", tmp_path)
    data.setup("fit")
    assert data.class_names == ["cat", "dog"]
    assert sorted(evaluated(data, data.val_dataloader())) == [(1, 0), (2, 0), (3, 1)]
    assert len(data.splits.train) == 3


def test_classes_may_be_named_like_splits(tmp_path, write_classes, image_data):
    # timm's factory would take the class "valid" for a split, and find one class in it.
    write_classes(tmp_path / "train", classes=("invalid", "valid"))
    data = image_data("folder", tmp_path, val_fraction=0.5)
    data.setup("fit")
    assert data.class_names == ["invalid", "valid"]
    assert len(data.splits.train) + len(data.splits.val) == 8


def test_stray_and_hidden_files_are_no_class(tmp_path, write_image, write_classes, image_data):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    write_image(tmp_path / "train" / "preview.png", 0)
    write_image(tmp_path / "train" / ".thumbnails" / "0.png", 0)
    write_image(tmp_path / "train" / "class1" / ".thumbnails" / "0.png", 0)
    (tmp_path / "train" / "class1" / "._0.png").write_bytes(b"resource fork of macOS")
    (tmp_path / "train" / "class1" / "notes.txt").write_text("not an image")
    data = image_data("folder", tmp_path)
    data.setup("fit")
    assert data.num_classes == 3
    assert len(data.splits.train) == 12


def test_pixels_of_16_bits_keep_their_brightness(tmp_path, write_classes, image_data, evaluated):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    for split in ("train", "val"):
        Image.fromarray(np.full((40, 36), 200 * 257, np.uint16)).save(tmp_path / split / "class1" / "0.png")
    data = image_data("folder", tmp_path, predict_folder=str(tmp_path / "val" / "class1"))
    data.setup("fit")
    assert evaluated(data, data.val_dataloader()) == [(200, 0), (20, 1), (40, 2)]
    assert data.splits.train[0][0].getextrema() == ((200, 200),) * 3
    assert evaluated(data, data.predict_dataloader()) == [(200, -1)]


def test_what_is_left_out_is_counted_and_named(tmp_path, write_classes, image_data, recwarn):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    folder = tmp_path / "train"
    for name in ("class1/0.txt", "class1/sub/1.TXT", "class2/0.heic", "class2/README", "0.png", ".hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    image_data("folder", tmp_path).setup("fit")
    assert [str(w.message) for w in recwarn if "left out" in str(w.message)] == [
        f"data.root: '{folder}': 4 left out, not images by their extension: 1 .heic, 2 .txt, 1 without extension",
        f"data.root: '{folder}': 1 left out, beside the class folders instead of in one: 1 .png",
    ]


@pytest.mark.parametrize("extension", ["webp", "bmp", "tif", "tiff", "GIF", "jpg", "JPEG"])
def test_every_extension_of_images_is_read(tmp_path, write_image, write_classes, image_data, evaluated, extension):
    write_classes(tmp_path / "train")
    for name in ("class1", "class2"):
        write_image(tmp_path / "val" / name / f"0.{extension}", 128)
    data = image_data("folder", tmp_path)
    data.setup("fit")
    assert evaluated(data, data.val_dataloader()) == [(128, 0), (128, 1)]


def test_two_classes_at_least(tmp_path, write_classes, image_data, raises):
    write_classes(tmp_path, classes=["cat"])
    with raises("data.root", "with one class (cat)", "at least two"):
        image_data("folder", tmp_path, val_fraction=0.5).setup("fit")


@pytest.mark.parametrize(("per_class", "batches"), [(4, [5, 5, 2]), (7, [5, 5, 5, 5]), (1, [3])])
def test_last_batch_of_single_images(tmp_path, write_classes, image_data, per_class, batches):
    write_classes(tmp_path / "train", per_class)
    write_classes(tmp_path / "val", 1)
    for drop_last in (False, True):
        data = image_data("folder", tmp_path, batch_size=5, drop_last=drop_last)
        data.setup("fit")
        kept = [size for size in batches if size == 5 or not drop_last or len(batches) == 1]
        assert [len(labels) for _, labels in data.train_dataloader()] == kept
        assert len(data.train_dataloader()) == len(kept)
        assert data.last_batch_size == kept[-1]


def test_order_of_single_images_depends_on_seed_and_epoch_only(tmp_path, write_classes, image_data):
    write_classes(tmp_path / "train", 8)
    write_classes(tmp_path / "val", 1)

    def orders(seed, noise):
        torch.manual_seed(noise)
        data = image_data("folder", tmp_path, seed=seed)
        data.setup("fit")
        loader = data.train_dataloader()
        return [tuple(label for _, labels in loader for label in labels.tolist()) for _ in range(2)]

    first = orders(0, 0)
    assert first == orders(0, 1)
    assert len({*first, *orders(1, 0)}) == 4


# What cannot be used

CLASSES = ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
TRAIN, VAL, TEST = (tuple(f"{split}/{path}" for path in CLASSES) for split in ("train", "val", "test"))

# The content of the folder, in which a folder is named with a slash at its end; arguments; the error.
FOLDERS = {
    "missing": (None, {}, "data.root", "which does not exist", "a folder of images"),
    "empty": ((), {}, "data.root", "which is empty", "train/CLASS/IMAGE"),
    "files_only": (("0.png",), {}, "data.root", "without class folders", "a folder of images for each class"),
    "split_without_classes": (
        ("train/",),
        {},
        "data.root",
        "train' without class folders",
        "a folder of images for each class",
    ),
    "class_without_images": (
        (*TRAIN, "train/bird/"),
        {},
        "data.root",
        "has no image of bird; images are files that end with",
        None,
    ),
    "classes_unknown_to_training": (
        (*TRAIN, "val/dog/0.png", "val/lion/0.png"),
        {},
        "data.root",
        "classes lion in",
        "training folder only",
    ),
    "no_training_split": (VAL + TEST, {}, "data.root", "without a training split", "named train"),
    "no_validation": (TRAIN, {}, "data.val_fraction", "0", "neither a val nor"),
    "classes_without_validation": (CLASSES, {}, "data.val_fraction", "0", "a share above 0"),
    "val_fraction_too_small": (CLASSES, {"val_fraction": 0.1}, "data.val_fraction", "0.1", "more than 1/4"),
    "val_fraction_beside_a_split": (
        TRAIN + VAL,
        {"val_fraction": 0.5},
        "data.val_fraction",
        "0.5",
        "0, as the data set has a validation split",
    ),
    "other_number_of_classes": (CLASSES, {"num_classes": 3}, "data.num_classes", "3", "2, the classes of"),
}


@pytest.mark.parametrize(("content", "kwargs", "argument", "got", "need"), FOLDERS.values(), ids=FOLDERS)
def test_folders(tmp_path, raises, image_data, write_image, content, kwargs, argument, got, need):
    root = tmp_path / "images"
    if content is not None:
        root.mkdir()
        for path in content:
            if path.endswith("/"):
                (root / path).mkdir(parents=True)
            else:
                write_image(root / path)
    with raises(argument, got, need):
        image_data("folder", root, **kwargs).setup("fit")


def half_an_image() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "png")
    return file.getvalue()[: file.tell() // 2]


@pytest.mark.parametrize("content", [b"", b"not an image", half_an_image()], ids=["empty", "text", "truncated"])
def test_file_that_is_not_an_image(tmp_path, raises, write_classes, image_data, content):
    write_classes(tmp_path)
    damaged = tmp_path / "class1" / "1.png"
    damaged.write_bytes(content)
    data = image_data("folder", tmp_path, batch_size=1, val_fraction=0.2)
    data.setup("fit")
    # Whichever split it fell into; timm's own data set would serve the next image in its place.
    with raises(
        "data.root",
        f"'{damaged}', which is {'damaged' if content[4:] and content[0] > 127 else 'not an image, or is damaged'}",
        "images only",
    ):
        list(data.train_dataloader()) + list(data.val_dataloader())
