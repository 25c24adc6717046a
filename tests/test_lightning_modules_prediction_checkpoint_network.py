"""A checkpoint predicts image files as it predicts a data set's, and prepares them by what it was trained with."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lightning_modules import ImageClassifier
from lightning_modules.cli import main
from lightning_modules.prediction.checkpoint_network import CheckpointNetwork

DATA = {"dataset": "folder", "image_size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "num_classes": 3}


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Write the checkpoint of a network that was not trained; return the function that writes one with other data."""
    monkeypatch.chdir(tmp_path)
    classifier = ImageClassifier("test_resnet", num_classes=3)
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint("x.ckpt", weights_only=True)
    content = torch.load("x.ckpt", weights_only=True)

    def write(data=DATA, names=("ant", "bee", "cat")):
        more = {"datamodule_hyper_parameters": data, "ImageData": {"class_names": names and list(names)}}
        torch.save({**content, **(more if data else {})}, "x.ckpt")

    write()
    return write


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for k, size in enumerate([(40, 30), (32, 32), (17, 50), (64, 64), (30, 31)]):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{k}.png")
    return tmp_path / "images"


def test_files_are_predicted_as_those_of_the_data(checkpoint, images, capsys):
    options = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--data.num_workers=0"]
    assert main(["predict", "--ckpt_path=x.ckpt", "--data.predict_folder=images", *options]) == 0
    capsys.readouterr()
    assert main(["predict", "x.ckpt", "images", "--device=cpu", "--batch_size=2", "--threads=1"]) == 0
    shown = capsys.readouterr()
    found = list(csv.DictReader(io.StringIO(shown.out)))
    expected = list(csv.DictReader(io.StringIO(Path("runs/run/version_0/predictions.csv").read_text())))
    assert len(found) == 5
    assert list(found[0]) == list(expected[0])
    for one, other in zip(found, expected):
        for k in (1, 2, 3):
            name = f"probability{k}"
            assert float(one.pop(name)) == pytest.approx(float(other.pop(name)), abs=2e-6)
        assert one == other
    assert {row["class1"] for row in found} <= {"ant", "bee", "cat"}
    assert shown.err.startswith("5 images in ")


def test_a_checkpoint_that_does_not_say_takes_options(checkpoint, images, capsys):
    checkpoint(data=None)
    assert main(["predict", "x.ckpt", "images"]) == 2
    said = capsys.readouterr().err
    assert "'x.ckpt' does not say how its images were prepared; give --input_size, --mean, --std\n" in said
    given = ["--mean=0.4,0.5,0.6", "--std=0.2,0.3,0.4"]
    assert main(["predict", "x.ckpt", "images", *given, "--input_size=3,20,28"]) == 0
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["class1"] in ("0", "1", "2")
    assert main(["predict", "x.ckpt", "images", "--mean=0.4", "--std=0.2", "--input_size=1,24,24"]) == 2
    need = "--input_size: got [1, 24, 24]; need 3 channels, as the network of 'x.ckpt' has\n"
    assert capsys.readouterr().err.endswith(need)


def test_cuda_that_is_not_there(checkpoint, raises, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with raises("--device", "cuda, which this machine or its PyTorch has not", "cpu"):
        CheckpointNetwork("x.ckpt", Path("runs"), "run", device="cuda")
