"""The masks of image files: what is written, under which names, of which size."""

import csv
import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.full_disk import full_after
from support.onnx_file import PREPARATION, write_onnx

from lightning_modules.cli import main
from lightning_modules.disk import ADVICE
from lightning_modules.prediction.masks import most_probable
from lightning_modules.prediction.onnx_network import OnnxNetwork

PALETTE = [[0, 0, 0], [250, 0, 0], [0, 0, 250]]
SEGMENTING = {**PREPARATION, "crop_pct": 0.5, "palette": PALETTE}  # dark, middle, light; nothing is cropped
GREYS = {"a/1.png": 0, "b/1.png": 255, "2.jpg": 128}


@pytest.fixture
def folder(tmp_path, write_image, monkeypatch):
    """A folder that the test is in, with networks that classify pixels and a folder ``images``."""
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "net.onnx", SEGMENTING, ("batch", 3, "height", "width"), pooled=False)
    for name, grey in GREYS.items():
        write_image(tmp_path / "images" / name, grey)
    return tmp_path


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def half(path: Path, size=(12, 8)) -> None:
    """Write an image that is black on the left and white on the right."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, size[0] // 2 :] = 255
    Image.fromarray(pixels).save(path)


def test_a_mask_for_each_image_and_the_shares_of_the_classes(folder, capsys):
    half(folder / "images/b/3.png")
    (folder / "images/bad.png").write_bytes(b"no image")
    assert main(["predict", "net.onnx", "images", "--batch_size=2"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("not read: images/bad.png: is not an image, or is damaged\n5 images in ")
    assert shown.err.endswith("; 1 of them could not be read; masks: masks\n")
    table = rows("masks/shares.csv")
    assert [(row["image"], row["mask"], row["error"]) for row in table] == [
        ("images/2.jpg", "2.png", ""),
        ("images/a/1.png", "a/1.png", ""),
        ("images/b/1.png", "b/1.png", ""),
        ("images/b/3.png", "b/3.png", ""),
        ("images/bad.png", "", "is not an image, or is damaged"),
    ]
    shares = [[row[f"share/{name}"] for name in ("dark", "middle", "light")] for row in table]
    none, whole, middle = "0.000000", "1.000000", "0.500000"
    assert shares == [[none, none, whole], [whole, none, none], [none, none, whole], [middle, none, middle], [""] * 3]
    mask = Image.open("masks/b/3.png")
    assert (mask.mode, mask.size) == ("P", (12, 8))  # of the image's file, not of the network's input
    assert np.asarray(mask).tolist() == [[0] * 6 + [2] * 6] * 8
    assert np.asarray(mask.convert("RGB"))[0, [0, 11]].tolist() == [PALETTE[0], PALETTE[2]]
    assert sorted(str(path.relative_to("masks")) for path in Path("masks").rglob("*.png")) == [
        "2.png", "a/1.png", "b/1.png", "b/3.png"
    ]  # fmt: skip


def test_json_lines_and_a_folder_of_its_own(folder):
    assert main(["predict", "net.onnx", "images/a", "--output=new", "--format=jsonl", "--class_names=n.txt"]) == 2
    assert not Path("new").exists()
    Path("n.txt").write_text("x\ny\nz\n")
    assert (
        main(["predict", "net.onnx", "images/a", "none.png", "--output=new", "--format=jsonl", "--class_names=n.txt"])
        == 3
    )
    assert [json.loads(line) for line in Path("new/shares.jsonl").read_text().splitlines()] == [
        {"image": "images/a/1.png", "mask": "images/a/1.png", "shares": {"x": 1.0, "y": 0.0, "z": 0.0}},
        {"image": "none.png", "error": "No such file or directory"},
    ]


def test_nothing_is_overwritten(folder, capsys):
    (folder / "masks").mkdir()
    (folder / "masks" / "mine.txt").touch()
    assert main(["predict", "net.onnx", "images"]) == 2
    assert (
        capsys.readouterr().err == "dyc predict: error: --output: got 'masks'; need a folder that does not exist yet\n"
    )
    assert [path.name for path in (folder / "masks").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(folder):
    (folder / "masks").mkdir()
    assert main(["predict", "net.onnx", "images"]) == 0
    assert len(rows("masks/shares.csv")) == len(GREYS)


@pytest.mark.parametrize(("size", "name"), [(60, "masks/2.png"), (40, "masks/shares.csv")])
def test_a_full_disk_is_one_line_that_names_the_file(folder, capsys, size, name):
    with full_after(size):
        assert main(["predict", "net.onnx", "images", "--batch_size=1"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"dyc predict: error: File too large for '{name}'; {ADVICE[errno.EFBIG]}"
    assert not list((folder / "masks").glob("*.png"))  # no half mask


def test_masks_of_images_that_differ_in_their_extension_alone(folder, write_image):
    write_image(folder / "images/2.png", 0)
    assert main(["predict", "net.onnx", "images", os.path.abspath("images/a/../2.png")]) == 0
    assert [row["mask"] for row in rows("masks/shares.csv")] == [
        "2.jpg.png", "2.png.png", "a/1.png.png", "b/1.png.png", "2.png.png"
    ]  # fmt: skip
    assert np.asarray(Image.open("masks/2.jpg.png")).max() == 2
    assert np.asarray(Image.open("masks/2.png.png")).max() == 0


def test_images_that_are_taken_as_they_are(folder):
    said = {**SEGMENTING, "resize": False}
    write_onnx(folder / "any.onnx", said, ("batch", 3, "height", "width"), pooled=False)
    for name, size in {"1": (6, 4), "2": (6, 4), "3": (10, 4)}.items():
        half(folder / f"{name}.png", size)
    seen = []
    images = ["1.png", "2.png", "3.png", "1.png"]

    def noting(network, batch, run=OnnxNetwork.__call__):
        seen.append(batch.shape)
        return run(network, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxNetwork, "__call__", noting)
        assert main(["predict", "any.onnx", *images, "--batch_size=4"]) == 0
        assert seen == [(2, 3, 4, 6), (1, 3, 4, 10), (1, 3, 4, 6)]  # those of one size together
        assert np.asarray(Image.open("masks/3.png")).tolist() == [[0] * 5 + [2] * 5] * 4
        assert main(["predict", "any.onnx", *images, "--output=one"]) == 0
        assert seen[3:] == [(1, 3, 4, 6), (1, 3, 4, 6), (1, 3, 4, 10), (1, 3, 4, 6)]
        assert main(["predict", "any.onnx", *images, "--output=all", "--input_size=3,8,8"]) == 0
        assert seen[7:] == [(4, 3, 8, 8)]  # a size that is given is one to resize to


def test_a_file_of_one_size_gets_images_of_that_size(folder):
    half(folder / "1.png", (30, 20))
    write_onnx(folder / "fixed.onnx", {**SEGMENTING, "resize": False}, ("batch", 3, 8, 8), pooled=False)
    assert main(["predict", "fixed.onnx", "1.png"]) == 0
    assert np.asarray(Image.open("masks/1.png")).shape == (20, 30)


def test_pixels_without_a_class(folder, capsys):
    write_onnx(folder / "nan.onnx", SEGMENTING, scale=float("nan"), pooled=False)
    assert main(["predict", "nan.onnx", "images/a/1.png"]) == 3
    assert (
        "; 1 of them have pixels without a class, as logits are not finite; masks: masks\n" in capsys.readouterr().err
    )
    assert rows("masks/shares.csv")[0]["error"] == "logits are not finite"
    mask = Image.open("masks/1.png")
    assert set(np.asarray(mask).flat) == {255}
    assert set(np.asarray(mask.convert("RGB")).flat) == {255}


def test_a_signal_keeps_what_was_written(folder, monkeypatch, capsys):
    done, run = [], OnnxNetwork.__call__

    def signalled(network, images):
        done.append(len(images))
        if len(done) == 2:
            signal.raise_signal(signal.SIGTERM)
        return run(network, images)

    monkeypatch.setattr(OnnxNetwork, "__call__", signalled)
    with pytest.raises(SystemExit) as stop:
        main(["predict", "net.onnx", "images", "--batch_size=2"])
    assert stop.value.code == 143
    assert len(rows("masks/shares.csv")) == len(list(Path("masks").rglob("*.png"))) == 2
    assert capsys.readouterr().err == "stopped; 2 of 3 images are written\n"


def test_the_class_is_that_of_argmax():
    logits = np.random.default_rng(0).integers(0, 3, (2, 5, 7, 9)).astype(np.float32)  # many are equal
    assert np.array_equal(most_probable(logits), logits.argmax(1))
    logits[0, 1, 2, 3], logits[1, 0, 0, 0] = np.nan, np.inf
    found = most_probable(logits)
    assert (found[0, 2, 3], found[1, 0, 0]) == (255, 255)
    assert (found == 255).sum() == 2
