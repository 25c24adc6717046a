"""``dyc analyze`` of networks that classify every pixel."""

import csv

import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib import rc_context
from PIL import Image
from support.pictures import cut_off

from dyc.analysis.attention_usage import LayerUsage
from experiments.analyze.analyses.usage import draw_classes
from experiments.analyze.output import STYLE, Output
from lightning_modules import SemanticSegmenter
from lightning_modules.cli import main
from lightning_modules.conversion_settings import DynamicSettings


@pytest.fixture
def checkpoint(masks_folder, segmentation_data, monkeypatch, tmp_path):
    """Return a function that writes a checkpoint of a segmentation network and returns its path."""
    monkeypatch.chdir(tmp_path)
    drawn = []
    monkeypatch.setattr(Output, "picture", lambda self, name, figure: drawn.append(name))  # writing them takes seconds

    def write(dynamic=None, **settings):
        conversion = None if dynamic is None else DynamicSettings(dynamic, "blocks")
        segmenter = SemanticSegmenter("test_resnet", num_classes=3, dynamic=conversion)
        trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
        trainer.strategy.connect(segmenter)
        data = segmentation_data(masks_folder, **{"image_size": [24, 32], **settings})
        data.setup("test")
        path = tmp_path / f"{dynamic}.ckpt"
        trainer.save_checkpoint(path)
        torch.save({**torch.load(path, weights_only=True), "datamodule_hyper_parameters": dict(data.hparams)}, path)
        return str(path)

    write.drawn = drawn
    return write


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_inside_is_shown(checkpoint, capsys, tmp_path):
    dyc, static = checkpoint("dyc"), checkpoint()
    for argv in (
        ["correlation", dyc, static, "--labels", "DYC", "static"],
        ["usage", dyc, "--each=2"],
        ["kernels", dyc],
        ["noise", dyc, static, "--sigmas", "0.5"],
        ["latency", dyc, static, "--sizes", "32", "--seconds=0.01"],
    ):
        assert main(["analyze", *argv, "--output", argv[0]]) == 0, capsys.readouterr()
        assert checkpoint.drawn
        checkpoint.drawn.clear()
    layers = {row["layer"] for row in read(tmp_path / "correlation/summary.csv")}
    assert layers == {"backbone.model.layer3"}  # the second-last stage
    assert main(["analyze", "usage", dyc, "--each=2", "--layer=layer2.0.conv1", "--output=short"]) == 0
    said = capsys.readouterr().out
    assert "heat map and images: backbone.model.layer2.0.conv1\n" in said
    assert "class of an image: the one that most of its pixels have" in said
    rows = read(tmp_path / "usage/classes.csv")
    assert {row["class"] for row in rows} == {"0"}  # of three equal columns, argmax names the first
    assert {row["image"][-5:] for row in read(tmp_path / "usage/images.csv")} == {"0.png", "1.png"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["attention"], "trained for segmentation, and attention is about the top-1 accuracy of a classifier; for "),
        (["attention"], "segmentation there are convergence, correlation, kernels, latency, noise, usage"),
        (["usage", "--data.crop_padding=4"], "there is no such option"),
        (["correlation", "--layer=layr3"], "--layer: got 'layr3' (did you mean 'layer3' or "),
    ],
)
def test_what_makes_no_sense_is_said(argv, message, checkpoint, capsys, tmp_path):
    path = checkpoint("dyc")
    assert main(["analyze", argv[0], path, *argv[1:]]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list((tmp_path / "analyses").rglob("*.*"))


def test_a_heat_map_of_few_classes_has_room_for_all_that_is_written():
    classes = torch.tensor([[0.3, 0.7], [0.5, 0.5]])
    usage = LayerUsage(0.9, 0.1, 0.5, classes.mean(0), classes, torch.zeros(2, 1), torch.zeros(2, 1), 96)
    layer = "backbone.model.blocks.3.0.conv_dw"
    with rc_context(STYLE):
        assert cut_off(draw_classes(usage, layer, ["road", "sky"], 24, "dyc_mobilenetv2_035")) == []


def test_images_of_several_sizes_are_asked_for_one(checkpoint, capsys, masks_folder):
    for folder in ("images", "masks"):
        path = masks_folder / "test" / folder / "0.png"
        Image.open(path).resize((20, 20), Image.Resampling.NEAREST).save(path)
    path = checkpoint("dyc", image_size=None)
    assert main(["analyze", "usage", path]) == 2
    assert "data.image_size: got None; need one for all, such as '[180, 240]'" in capsys.readouterr().err
    assert main(["analyze", "usage", path, "--data.image_size", "[24, 32]"]) == 0
