"""``dyc export`` of checkpoints that classify every pixel."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from support.masked_folder import NAMES, write_masked_folder

from lightning_modules import SegmentationData, SemanticSegmenter
from lightning_modules.cli import main

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

PALETTE = [[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of one step."""
    folder = write_masked_folder(tmp_path_factory.mktemp("masks"), {"train": 4, "val": 2, "test": 2})
    data = SegmentationData("folder", str(folder), batch_size=2, num_workers=0, palette=PALETTE)
    segmenter = SemanticSegmenter("test_resnet", output_stride=16, auxiliary=True, ema_decay=0.9)
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    limits = {"limit_train_batches": 1, "limit_val_batches": 0, "accelerator": "cpu", "max_epochs": 1}
    trainer = Trainer(enable_model_summary=False, **silent, **limits)
    trainer.fit(segmenter, data)
    trainer.save_checkpoint(folder / "net.ckpt")
    return folder / "net.ckpt"


def test_as_onnx(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained), "--output=a.onnx"]) == 0
    assert "any batch, any height and width" in capsys.readouterr().out
    session = ort.InferenceSession("a.onnx")
    said = json.loads(session.get_modelmeta().custom_metadata_map["dyc.preparation"])
    assert said["input_size"] == [3, 48, 64]
    assert said["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert (said["crop_pct"], said["crop_mode"]) == (1.0, "squash")  # images are resized, not cropped
    assert (said["class_names"], said["palette"]) == (NAMES, PALETTE)
    images = torch.randn(3, 3, 40, 56)
    segmenter = SemanticSegmenter.load_from_checkpoint(trained, map_location="cpu").eval()
    with torch.no_grad():
        want = segmenter(images).numpy()  # of the averaged weights
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.exhaustive
def test_as_a_program(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained), "--output=a.pt2", "--format=pt2"]) == 0
    said = {"dyc.preparation": ""}
    program = torch.export.load("a.pt2", extra_files=said).module()
    assert json.loads(said["dyc.preparation"])["palette"] == PALETTE
    assert program(torch.rand(1, 3, 33, 70)).shape == (1, 4, 33, 70)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output=a", "--format=weights"], "--format: got weights, for a network of segmentation, which timm has no"),
        (["--output=a.onnx", "--int8"], "--int8: got a checkpoint of segmentation; need one of classification"),
    ],
)
def test_what_it_is_not_written_as(trained, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
