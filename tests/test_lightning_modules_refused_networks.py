"""Networks that timm cannot create, because of what was asked for."""

import huggingface_hub.constants
import pytest
import timm
import torch

from lightning_modules import ImageClassifier

NAME = "test_resnet"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


def test_pretrained_weights_without_a_network_connection(offline, raises):
    with raises("model.pretrained", "True (", "check the network connection, or leave it false"):
        ImageClassifier(NAME, num_classes=10, pretrained=True)


def test_pretrained_weights_that_do_not_exist(raises):
    with raises("model.pretrained", "True (No pretrained weights exist for", "can be fetched"):
        ImageClassifier("mobilenetv2_cifar", num_classes=10, pretrained=True)


def test_a_network_of_the_hub_without_a_network_connection(offline, raises):
    with raises("model.model", "'hf-hub:timm/none' (", "can be fetched"):
        ImageClassifier("hf-hub:timm/none", num_classes=10)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model(NAME, num_classes=7).state_dict(), path)
    return path


def test_a_checkpoint_with_other_classes(weights, raises):
    with raises("model.model_kwargs.checkpoint_path", "size mismatch for fc.weight", f"weights of {NAME} with as many"):
        ImageClassifier(NAME, {"checkpoint_path": str(weights)}, num_classes=10)
    assert ImageClassifier(NAME, {"checkpoint_path": str(weights)}, num_classes=7).net.num_classes == 7


def test_a_checkpoint_that_does_not_exist(tmp_path, raises, caplog):
    with raises("model.model_kwargs.checkpoint_path", "none.pt', which does not exist", "a file of weights"):
        ImageClassifier(NAME, {"checkpoint_path": str(tmp_path / "none.pt")}, num_classes=10)
    assert not caplog.records  # timm has a line of its own


def test_arguments_that_timm_refuses(raises):
    with raises("model.model_kwargs", "'global_pool': 'sum'", f"arguments that {NAME} takes ("):
        ImageClassifier(NAME, {"global_pool": "sum"}, num_classes=10)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a fault")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        ImageClassifier(NAME, num_classes=10)


@pytest.mark.parametrize("classes", [0, 1])
def test_two_classes_at_least(raises, classes):
    with raises("model.num_classes", str(classes), "at least 2"):
        ImageClassifier(NAME, num_classes=classes)
