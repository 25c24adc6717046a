"""Images that cannot be read are left out when that is asked for, and said to be."""

import errno

import numpy as np
import pytest
from PIL import Image

from lightning_modules.data.image_files import Decoded
from lightning_modules.data.splits import item_names
from lightning_modules.labelled_images import data_of


@pytest.fixture
def damaged(tmp_path, write_classes):
    """Write a folder in which the first image of a class is damaged, too large, or of unknown range in each split."""
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 2)
    paths = [tmp_path / split / "class1" / "0.png" for split in ("train", "val")]
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    paths[1].unlink()
    paths[1] = paths[1].with_suffix(".tif")
    Image.fromarray(np.zeros((40, 36), np.float32)).save(paths[1])
    return tmp_path, paths


def test_they_are_left_out_counted_and_named(damaged, image_data, evaluated, recwarn):
    root, paths = damaged
    data = image_data("folder", root, skip_damaged=True)
    data.setup("fit")
    assert (len(data.splits.train), len(data.splits.val)) == (11, 5)
    assert evaluated(data, data.val_dataloader()) == [(1, 0), (20, 1), (21, 1), (40, 2), (41, 2)]
    assert len(list(data.train_dataloader())) == 2  # whole batches of four
    said = [str(w.message) for w in recwarn if "left out" in str(w.message)]
    assert len(said) == 2
    assert said[0].startswith(f"data.root: 1 of 12 images left out: '{paths[0]}', which is damaged (")
    assert said[1].startswith(f"data.root: 1 of 6 images left out: '{paths[1]}', whose pixels are floating-point")


def test_predictions_keep_the_names_of_their_files(damaged, image_data, evaluated):
    root, _ = damaged
    data = image_data("folder", root, skip_damaged=True, predict_folder=str(root / "val"), val_fraction=0.0)
    data.setup("fit")
    with pytest.warns(UserWarning, match="data.predict_folder: 1 of 6 images left out"):
        names = data.predict_items()
    assert names == [
        str(root / "val" / f"{name}.png") for name in ("class1/1", "class10/0", "class10/1", "class2/0", "class2/1")
    ]
    assert [grey for grey, _ in evaluated(data, data.predict_dataloader())] == [1, 40, 41, 20, 21]


def test_names_of_a_held_out_share(damaged, image_data, evaluated, class_names):
    root, _ = damaged
    data = image_data("folder", root / "train", skip_damaged=True, val_fraction=0.5)
    data.setup("fit")
    pairs = evaluated(data, data.predict_dataloader())
    assert data.predict_items() == [
        str(root / "train" / class_names[label] / f"{grey - 20 * label}.png") for grey, label in pairs
    ]


def test_only_the_first_ten_are_named(tmp_path, write_classes, image_data):
    write_classes(tmp_path, 12, ["cat", "dog"])
    for i in range(12):
        (tmp_path / "cat" / f"{i}.png").write_bytes(b"")
    data = image_data("folder", tmp_path, skip_damaged=True, val_fraction=0.5)
    with pytest.warns(UserWarning, match=r"12 of 24 images left out: .*; and 2 more$"):
        data.setup("fit")


def test_nothing_is_left(tmp_path, write_classes, image_data, raises):
    write_classes(tmp_path, 2, ["cat", "dog"])
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    with raises("data.root", "4 images of which none can be read", "images"):
        image_data("folder", tmp_path, skip_damaged=True, val_fraction=0.5).setup("fit")


def test_the_error_names_the_option(damaged, image_data, raises):
    root, paths = damaged
    data = image_data("folder", root)
    data.setup("fit")
    with raises("data.root", f"'{paths[1]}', whose pixels are", "--data.skip_damaged true"):
        list(data.val_dataloader())


def test_a_file_that_cannot_be_opened(tmp_path, write_classes, image_data, raises):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", 1)
    (tmp_path / "val" / "class1" / "1.png").symlink_to(tmp_path / "nowhere.png")
    data = image_data("folder", tmp_path)
    data.setup("fit")
    with raises("data.root", "1.png', which cannot be read (No such file or directory)", "files that you may read"):
        list(data.val_dataloader())
    with raises("data.root", "which cannot be read (No such file or directory)", "files"):  # it may be there tomorrow
        image_data("folder", tmp_path, skip_damaged=True).setup("fit")


@pytest.mark.parametrize(
    ("error", "need"),
    [
        (OSError(errno.EIO, "Input/output error"), "files that you may read"),
        (OSError(errno.EMFILE, "Too many open files"), "a smaller --data.num_workers, or a higher limit of open files"),
    ],
)
def test_what_is_no_fault_of_the_image_is_not_left_out(
    tmp_path, write_classes, image_data, raises, monkeypatch, error, need
):
    write_classes(tmp_path, 2, ["cat", "dog"])

    def fail(*args):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with raises("data.root", f"which cannot be read ({error.strerror})", need):
        image_data("folder", tmp_path, skip_damaged=True, val_fraction=0.5).setup("fit")
    error = MemoryError()
    with pytest.raises(MemoryError):
        image_data("folder", tmp_path, skip_damaged=True, val_fraction=0.5).setup("fit")


def test_a_single_image(tmp_path, image_data, raises):
    (tmp_path / "0.png").write_bytes(b"")
    data = image_data("digits", predict_folder=str(tmp_path), skip_damaged=True)
    data.setup("fit")
    got = f"got a single image, which cannot be read: '{tmp_path / '0.png'}', which is not an image, or is damaged"
    with raises("data.predict_folder", got, "images"):
        data.predict_dataloader()


def test_the_images_of_an_export_are_those_that_were_held_out(damaged, image_data):
    root, _ = damaged
    data = image_data("folder", root / "train", skip_damaged=True, val_fraction=0.5, seed=3)
    data.setup("fit")
    again = data_of({"datamodule_hyper_parameters": dict(data.hparams)})
    assert item_names(again.splits.val) == item_names(data.splits.val)


def test_an_export_decodes_nothing_ahead_without_need(damaged, image_data, monkeypatch):
    root, _ = damaged
    settings = dict(image_data("folder", root, skip_damaged=True).hparams)
    monkeypatch.setattr(Decoded, "decode", None)
    assert data_of({"datamodule_hyper_parameters": settings}).hparams.skip_damaged
