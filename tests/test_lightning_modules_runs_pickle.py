"""No file of weights runs code when it is read, whatever command or function reads it."""

import os
from pathlib import Path

import pytest
import timm
import torch

import dyc
from dyc.export.weights import save_weights
from lightning_modules import ImageClassifier
from lightning_modules.cli import main

NAME = "test_resnet"


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def harm(tmp_path):
    return tmp_path / "harm"


@pytest.fixture
def checkpoint(tmp_path, harm):
    """A checkpoint with everything in its place, and harm."""
    classifier = ImageClassifier(NAME, num_classes=10, model_kwargs={"in_chans": 1})
    state = {
        "state_dict": classifier.state_dict(),
        "hyper_parameters": dict(classifier.hparams),
        "pytorch-lightning_version": "2.6.0",
        "callbacks": {"harm": Harm(harm)},
    }
    torch.save(state, tmp_path / "harmful.ckpt")
    return tmp_path / "harmful.ckpt"


@pytest.fixture
def weights(tmp_path, harm):
    state = {**timm.create_model(NAME, num_classes=10).state_dict(), "harm": Harm(harm)}
    torch.save(state, tmp_path / "harmful.pth")
    return tmp_path / "harmful.pth"


def test_the_file_does_harm_where_it_is_trusted(checkpoint, harm):
    torch.load(checkpoint, weights_only=False)
    assert harm.is_dir()


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "compact"])
def test_commands(checkpoint, harm, command, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([command, "--ckpt_path", str(checkpoint)]) != 0
    assert "unreadable (it holds objects whose loading may run code); need a whole" in capsys.readouterr().err
    assert not harm.exists()


@pytest.mark.parametrize("source", [Path, str, lambda path: path.open("rb")], ids=["path", "text", "file"])
def test_load_from_checkpoint(checkpoint, harm, source, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(Exception, match="Weights only load failed"):
        ImageClassifier.load_from_checkpoint(source(checkpoint))
    assert not harm.exists()


def test_files_of_weights(weights, harm, raises):
    with pytest.raises(RuntimeError, match="weights_only=True blocked"):
        timm.create_model(NAME, num_classes=10, checkpoint_path=weights)
    with pytest.raises(RuntimeError, match="weights_only=True blocked"):
        timm.create_model("dyc_mobilenetv2_cifar", checkpoint_path=weights)
    with raises("checkpoint_path", "no file of weights alone (weights_only=True blocked", "a whole file of weights"):
        dyc.create_dynamic(NAME, where="blocks", num_classes=10, checkpoint_path=weights)
    with raises("model.model_kwargs.checkpoint_path", "weights_only=True blocked", "a file of weights"):
        ImageClassifier(NAME, {"checkpoint_path": str(weights)}, num_classes=10)
    assert not harm.exists()


def test_a_folder_with_a_pickle_instead_of_safetensors(tmp_path, weights, harm):
    save_weights(timm.create_model(NAME, num_classes=10), tmp_path / "saved")
    (tmp_path / "saved/model.safetensors").unlink()
    weights.rename(tmp_path / "saved/pytorch_model.bin")
    with pytest.raises(RuntimeError, match="weights_only=True blocked"):
        timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True)
    assert not harm.exists()
