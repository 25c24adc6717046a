"""Tiny ImageNet: a tree of small files in the layout of its archive, and the file of tensors that is made from it."""

import hashlib
import shutil
import threading
import warnings
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_modules import ImageData
from lightning_modules.data import tiny_imagenet
from ops import ArgumentError

WNIDS = [f"n{1000 + 7 * i}" for i in range(200)]


def write_picture(path: Path, number: int, mode: str = "RGB") -> None:
    """Write a picture whose left half has the grey of a number, the right half white; JPEG keeps both to a level."""
    pixels = np.full((64, 64), 255, np.uint8)
    pixels[:, :32] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, "JPEG", quality=95)


def write_tree(root: Path, per_class: int = 1) -> Path:
    """Write 200 classes: the grey of an image is its class in the order of the identifiers."""
    folder = root / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        for i in range(per_class):
            write_picture(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", label, "L" if label == 3 else "RGB")
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("not an image")
    # In the archive, neither list is in the order of the identifiers, and words.txt knows more than the classes.
    (folder / "wnids.txt").write_text("\n".join(reversed(WNIDS)))
    rows = [f"val_{i}.JPEG\t{WNIDS[label]}\t0\t1\t2\t3" for i, label in enumerate((150, 4))]
    for i, label in enumerate((150, 4)):
        write_picture(folder / "val/images" / f"val_{i}.JPEG", label)
    (folder / "val/val_annotations.txt").write_text("\n".join(rows) + "\n")
    (folder / "words.txt").write_text("".join(f"{wnid}\tclass {wnid}, animal\n" for wnid in ["n1", *WNIDS]))
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    write_tree(root)
    return root


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree that a test may damage."""
    shutil.copytree(written / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200")
    return tmp_path


def opened(root: Path) -> ImageData:
    data = ImageData("tiny_imagenet", str(root), batch_size=4)
    data.prepare_data()
    data.setup("fit")
    return data


def test_images_labels_and_classes(tree):
    data = opened(tree)
    train, val = data.splits.train, data.splits.test
    assert (data.num_classes, data.in_chans, data.image_size) == (200, 3, 64)
    assert (train.images.shape, train.images.dtype) == ((200, 3, 64, 64), torch.uint8)
    assert train.labels.tolist() == list(range(200))
    assert val.labels.tolist() == [150, 4]
    for split in (train, val):
        left, right = split.images[..., :28].double(), split.images[..., 36:].double()
        assert (left - split.labels[:, None, None, None]).abs().max() <= 2
        assert (right - 255).abs().max() <= 2
    assert data.class_names[:2] == ["class n1000, animal", "class n1007, animal"]
    assert data.validates_on_test
    assert data.mean == (0.485, 0.456, 0.406)
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, labels.shape) == ((4, 3, 64, 64), (4,))


def test_second_start_decodes_nothing(tree, monkeypatch):
    before = opened(tree).splits
    assert sorted(p.name for p in tree.iterdir()) == ["tiny-imagenet-200", "tiny-imagenet-200.pt"]
    monkeypatch.setattr(tiny_imagenet, "_read", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = opened(tree).splits
    for name in ("train", "test"):
        old, new = getattr(before, name), getattr(after, name)
        assert torch.equal(old.images, new.images)
        assert torch.equal(old.labels, new.labels)
        assert old.classes == new.classes


def test_cache_of_another_folder_is_made_anew(tree):
    opened(tree)
    write_tree(tree, per_class=2)
    with pytest.warns(UserWarning, match=r"tiny-imagenet-200.pt is made anew: the folder holds other images"):
        assert len(opened(tree).splits.train) == 400
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(opened(tree).splits.train) == 400


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_damaged_cache_is_made_anew(tree, damage):
    opened(tree)
    cache = tree / "tiny-imagenet-200.pt"
    cache.write_bytes(cache.read_bytes()[:5000] if damage is None else damage)
    with pytest.warns(UserWarning, match="made anew"):
        assert opened(tree).splits.train.images[150, 0, 0, 0] == pytest.approx(150, abs=2)
    assert cache.stat().st_size > 200 * 3 * 64 * 64


def test_interrupted_writing_leaves_nothing_behind(tree, monkeypatch):
    def stop(value, file):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        opened(tree)
    assert [p.name for p in tree.iterdir()] == ["tiny-imagenet-200"]


def test_folder_that_cannot_be_written(tree, monkeypatch):
    def refuse(value, file):
        raise OSError("read-only file system")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.warns(UserWarning, match=r"cannot be written, so that every start decodes .*: read-only file system"):
        assert len(opened(tree).splits.train) == 200


# Download


@pytest.fixture
def served(written, tmp_path, monkeypatch):
    """Serve the tree as an archive on this machine in place of the official one; return its file."""
    archive = tmp_path / "served" / "tiny-imagenet-200.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((written / "tiny-imagenet-200").rglob("*")):
            file.write(path, path.relative_to(written))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(tiny_imagenet, "URL", f"http://127.0.0.1:{server.server_port}/{archive.name}")
    monkeypatch.setattr(tiny_imagenet, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    yield archive
    server.shutdown()
    server.server_close()
    thread.join()


def test_download(served, tmp_path):
    root = tmp_path / "data"
    data = ImageData("tiny_imagenet", str(root), download=True)
    data.prepare_data()
    data.setup("fit")
    assert len(data.splits.train) == 200
    # What was lost is unpacked again; what is whole is left alone.
    kept = root / "tiny-imagenet-200/train" / WNIDS[0] / "images" / f"{WNIDS[0]}_0.JPEG"
    kept.unlink()
    served.unlink()  # the archive is there already
    ImageData("tiny_imagenet", str(root), download=True).prepare_data()
    assert kept.exists()
    (root / "tiny-imagenet-200.zip").unlink()
    ImageData("tiny_imagenet", str(root), download=True).prepare_data()


def test_download_of_something_else(served, tmp_path, monkeypatch, raises):
    monkeypatch.setattr(tiny_imagenet, "MD5", "0" * 32)
    with raises("data.download", "check the network connection, or put tiny-imagenet-200.zip into"):
        ImageData("tiny_imagenet", str(tmp_path / "data"), download=True).prepare_data()


# What cannot be used


@pytest.mark.parametrize(
    ("lost", "got"),
    [
        ("tiny-imagenet-200", "no tiny-imagenet-200/wnids.txt, tiny-imagenet-200/words.txt"),
        ("tiny-imagenet-200/val/val_annotations.txt", "no tiny-imagenet-200/val/val_annotations.txt)"),
        ("tiny-imagenet-200/val/images/val_1.JPEG", "1 of 2 images are missing in tiny-imagenet-200/val/images"),
        (f"tiny-imagenet-200/train/{WNIDS[5]}", f"0 images in tiny-imagenet-200/train/{WNIDS[5]}/images, 1 of other"),
    ],
)
def test_missing_files_are_named(tree, raises, lost, got):
    (tree / lost).rename(tree / "elsewhere")
    with raises("data.root", got, "--data.download true to fetch it there"):
        opened(tree)


@pytest.mark.parametrize(
    ("file", "content", "got"),
    [
        ("wnids.txt", "n1000\nn1007", "2 classes in wnids.txt"),
        ("words.txt", "n1000\tdog", "200 classes in wnids.txt, 1 in words.txt"),
        ("val/val_annotations.txt", "", "0 of 0 images are missing"),
        ("val/val_annotations.txt", "val_0.JPEG\tn9\t0", "names no class of wnids.txt: 'n9'"),
    ],
)
def test_wrong_lists_are_named(tree, raises, file, content, got):
    (tree / "tiny-imagenet-200" / file).write_text(content)
    with raises("data.root", got, "as its archive unpacks"):
        opened(tree)


def test_damaged_images_are_named(tree, raises):
    path = tree / "tiny-imagenet-200/val/images/val_0.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    with raises("data.root", f"'{path}'", "delete the file, and --data.download true unpacks it again"):
        opened(tree)
    Image.new("RGB", (40, 36)).save(path)
    with raises("data.root", "(40 x 36 pixels)", "whole images of 64 x 64"):
        opened(tree)
    assert not (tree / "tiny-imagenet-200.pt").exists()


def test_name_of_torchvision_s_kind():
    with pytest.raises(ArgumentError, match=r"'torch/tiny_imagenet' .did you mean .*'tiny_imagenet'"):
        ImageData("torch/tiny_imagenet")
