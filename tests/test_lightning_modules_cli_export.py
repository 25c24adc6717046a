"""``dyc export``: checkpoints and networks by name as ONNX files, and what a wrong command reads."""

import json

import pytest
import timm
import torch
from support.full_disk import full_after

from lightning_modules import ImageClassifier
from lightning_modules.cli import main

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

FIT = ["fit", "--data.batch_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--wandb=disabled"]
FIT += ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false"]
FIT += ["--data.image_size=32", "--trainer.accelerator=cpu", "--model.model=test_resnet"]
FIT += ["--model.dynamic.attention=dyc", "--model.dynamic.where=layer1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a short training."""
    folder = tmp_path_factory.mktemp("trained")
    assert main([*FIT, "--name=small", f"--runs={folder}/runs"]) == 0
    return folder / "runs/small/version_0/checkpoints/last.ckpt"


def preparation_of(path):
    return json.loads(next(p.value for p in onnx.load(path).metadata_props if p.key == "dyc.preparation"))


def test_a_checkpoint(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = [
        "export",
        "last",
        "--runs",
        str(trained.parents[3]),
        "--name",
        "small",
        "--output",
        "small.onnx",
        "--form",
        "features",
    ]
    assert main(argv) == 0
    said = capsys.readouterr()
    assert "layer1.0.conv1" in said.out
    assert "any batch, any height and width" in said.out
    assert "compare it with PyTorch in ONNX Runtime" in said.err
    preparation = preparation_of("small.onnx")
    assert preparation["input_size"] == [1, 32, 32]
    assert preparation["mean"] == [0.3054]
    assert preparation["crop_pct"] == 1.0
    assert ort.InferenceSession("small.onnx").get_inputs()[0].shape == ["batch", 1, "height", "width"]
    assert main(argv) == 2
    assert "--output: got 'small.onnx'; need a file that does not exist yet" in capsys.readouterr().err


def test_a_name_of_timm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "test_resnet", "--output", "a.onnx", "--num-classes", "7", "--image-size", "40"]) == 0
    assert "random weights" in capsys.readouterr().err
    assert preparation_of("a.onnx")["input_size"] == [3, 40, 40]
    assert ort.InferenceSession("a.onnx").get_outputs()[0].shape == ["batch", 7]


def test_the_other_formats_hold_the_same_network(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = str(trained)
    assert main(["export", path, "--format=weights", "--output=folder", "--license=mit"]) == 0
    assert main(["export", path, "--format=pt2", "--form=features", "--output=small.pt2"]) == 0
    said = capsys.readouterr().out
    assert 'timm.create_model("local-dir:folder", pretrained=True)' in said
    assert "small.pt2: any batch" in said
    x = torch.randn(3, 1, 32, 32)
    network = ImageClassifier.load_from_checkpoint(path, map_location="cpu").evaluated.eval()
    read = timm.create_model("local-dir:folder", pretrained=True).eval()
    want = network(x)
    torch.testing.assert_close(read(x), want)
    torch.testing.assert_close(torch.export.load("small.pt2").module()(x), want, rtol=1e-4, atol=1e-5)
    assert read.pretrained_cfg["mean"] == [0.3054]
    card = (tmp_path / "folder/README.md").read_text()
    assert "license: mit" in card
    assert "digits" in card


def test_int8_is_compared_on_the_data_of_the_training(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["export", str(trained), "--form=features", "--int8", "--calibration-images=40"]
    assert main([*argv, "--evaluate=50", "--output=a.onnx"]) == 0
    said = capsys.readouterr().out
    assert "by 40 images" in said
    assert "digits: test split, 50 images" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("float32", "int8"))}
    assert rows["float32"][1] == "100.00%"
    assert float(rows["int8"][1].rstrip("%")) > 50
    assert 0 < float(rows["float32"][0].rstrip("%")) < 100
    assert preparation_of("a.onnx")["mean"] == [0.3054]
    assert main([*argv, "--evaluate=0", "--output=b.onnx"]) == 0
    assert "split" not in capsys.readouterr().out
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()  # the same images


def test_int8_is_calibrated_with_a_folder(tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(6):
        Image.new("RGB", (40, 40), (40 * i, 200, 90)).save(f"images/{i}.png")
    (tmp_path / "images/6.png").write_text("no image")
    argv = ["export", "test_resnet", "--int8", "--calibration=images", "--image-size=32", "--calibration-images=4"]
    assert main([*argv, "--output=a.onnx"]) == 0
    said = capsys.readouterr().out
    assert "by 4 images" in said
    assert "other images of images, 2 images" in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["test_resnett", "--output", "a.onnx"], "CHECKPOINT_OR_MODEL: got 'test_resnett'"),
        (["nothing.ckpt", "--output", "a.onnx"], "'nothing.ckpt', which does not exist"),
        (["last", "--output", "a.onnx"], "runs/run has none"),
        (["test_resnet", "--output", "a.pt"], "need a file name that ends with .onnx, as --format is onnx"),
        (["test_resnet", "--output", "no/a.onnx"], "whose folder does not exist"),
        (["test_resnet"], "the following arguments are required: --output"),
        (["test_resnet", "--output", "a.onnx", "--format", "onx"], "did you mean 'onnx'"),
        (["test_resnet", "--output", "a.onnx", "--form", "feature"], "did you mean 'features'"),
        (["test_resnet", "--output", "a.onnx", "--compact"], "has no selective layers"),
        (["test_resnet", "--output", "a", "--format", "weights", "--form", "kernels"], "--form: has no meaning"),
        (["test_resnet", "--output", "a.onnx", "--format", "pt2"], "ends with .pt2, as --format is pt2"),
        (["test_resnet", "--output", "a.onnx", "--int8"], "--int8: needs --calibration FOLDER"),
        (
            ["test_resnet", "--output", "a.pt2", "--int8", "--format", "pt2"],
            "--int8: got --format pt2; need --format onnx",
        ),
        (["test_resnet", "--output", "a.onnx", "--evaluate", "3"], "--evaluate: has no meaning without --int8"),
        (["test_resnet", "--output", "a.onnx", "--int8", "--calibration", "."], "without images"),
        (["test_vit", "--output", "a.onnx", "--image-size", "33"], "need a size that the network takes"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *argv]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_go_into_an_empty_folder_and_into_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    argv = ["export", "test_resnet", "--format", "weights", "--output", "a"]
    assert main(argv) in (0, None)
    assert (tmp_path / "a/model.safetensors").is_file()
    assert main(argv) == 2
    assert "--output: got 'a'; need a folder that does not exist yet" in capsys.readouterr().err


def test_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with full_after(1000):
        assert main(["export", "test_resnet", "--output", "a", "--format=weights"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("dyc export: error: --output: got 'a' (")
    assert "File too large" in said[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_one_line(tmp_path, monkeypatch, capsys):
    from dyc.export import onnx_format

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_format, "PACKAGES", ("onnx_that_is_missing",))
    assert main(["export", "test_resnet", "--output", "a.onnx"]) == 2
    assert "onnx needs onnx_that_is_missing; install with: pip install 'dyc[export]'" in capsys.readouterr().err
