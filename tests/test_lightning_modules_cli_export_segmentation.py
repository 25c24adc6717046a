"""``dyc export`` of checkpoints that classify every pixel."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.masked_folder import NAMES, PALETTE
from support.onnx_file import write_onnx

from lightning_modules import SemanticSegmenter
from lightning_modules.cli import main
from lightning_modules.cli.int8 import RealImages, _compared
from lightning_modules.cli.parsers import export_parser
from lightning_modules.runs import read_checkpoint
from lightning_modules.trained_preparation import preparation_of

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_as_onnx(segmentation_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(segmentation_checkpoint), "--output=a.onnx"]) == 0
    assert "any batch, any height and width" in capsys.readouterr().out
    session = ort.InferenceSession("a.onnx")
    said = json.loads(session.get_modelmeta().custom_metadata_map["dyc.preparation"])
    assert said["input_size"] == [3, 48, 64]
    assert said["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert (said["crop_pct"], said["crop_mode"]) == (1.0, "squash")  # images are resized, not cropped
    assert (said["class_names"], said["palette"]) == (NAMES, PALETTE)
    images = torch.randn(3, 3, 40, 56)
    segmenter = SemanticSegmenter.load_from_checkpoint(segmentation_checkpoint, map_location="cpu").eval()
    with torch.no_grad():
        want = segmenter(images).numpy()  # of the averaged weights
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    folder = segmentation_checkpoint.parent / "test/images"
    for model, output in ((segmentation_checkpoint, "checkpoint"), ("a.onnx", "exported")):
        assert main(["predict", str(model), str(folder), f"--output={output}"]) == 0
    for name in ("0.png", "1.png"):
        one, other = (Image.open(tmp_path / output / name) for output in ("checkpoint", "exported"))
        assert (np.asarray(one) == np.asarray(other)).mean() > 0.999
        assert one.getpalette() == other.getpalette()


@pytest.mark.exhaustive
def test_as_a_program(segmentation_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(segmentation_checkpoint), "--output=a.pt2", "--format=pt2"]) == 0
    said = {"dyc.preparation": ""}
    program = torch.export.load("a.pt2", extra_files=said).module()
    assert json.loads(said["dyc.preparation"])["palette"] == PALETTE
    assert program(torch.rand(1, 3, 33, 70)).shape == (1, 4, 33, 70)
    assert main(["predict", "a.pt2", str(segmentation_checkpoint.parent / "test/images")]) == 0
    assert Image.open("masks/0.png").size == (64, 48)


@pytest.mark.exhaustive
def test_as_int8(segmentation_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(segmentation_checkpoint), "--output=a.onnx", "--int8", "--calibration-images=4"]) == 0
    said = capsys.readouterr().out
    assert "segmentation: validation split, 2 images" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("float32", "int8"))}
    assert rows["float32"][2] == "100.00%"
    assert float(rows["int8"][2].rstrip("%")) > 90
    assert main(["predict", "a.onnx", str(segmentation_checkpoint.parent / "test/images")]) == 0


def test_int8_is_compared_by_pixels(segmentation_checkpoint, tmp_path):
    """The networks find class 2 in light pixels and class 0 in dark ones; one of them sees no difference."""
    checkpoint = read_checkpoint(segmentation_checkpoint)
    preparation = preparation_of(checkpoint)
    own = {"pooled": False, "outputs": 4}
    files = [write_onnx(tmp_path / f"{k}.onnx", None, ("batch", 3, 48, 64), k, **own) for k in (1, 0)]
    options = export_parser().parse_args(["x.ckpt", "--output=a.onnx", "--int8", "--calibration-images=3"])
    images = RealImages(options, checkpoint, preparation)
    assert [batch.shape for batch in images.to_calibrate()] == [(3, 3, 48, 64)]
    table = _compared(*files, images)
    folder, right, same, count = segmentation_checkpoint.parent / "val", 0, 0, 0
    union = {0: 0, 2: 0}
    both = {0: 0, 2: 0}
    mean, std = (np.array(preparation[name]) for name in ("mean", "std"))
    for name in ("0.png", "1.png"):
        pixels = (np.asarray(Image.open(folder / "images" / name)) / 255 - mean) / std
        mask = np.asarray(Image.open(folder / "masks" / name))
        found = np.where(pixels.mean(2) > 0, 2, 0)
        same += int((found == 0).sum())
        right += int((found == mask)[mask != 255].sum())
        count += int((mask != 255).sum())
        for k in both:
            both[k] += int(((found == k) & (mask == k)).sum())
            union[k] += int((((found == k) | (mask == k)) & (mask != 255)).sum())
    float32, int8 = table.rows
    assert float32[1] == f"{sum(both[k] / union[k] for k in both) / 4:.2%}"  # of four classes
    assert float32[2:] == [f"{right / count:.2%}", "100.00%"]
    assert int8[3] == f"{same / (2 * 48 * 64):.2%}"
    assert table.title.endswith("validation split, 2 images")
