"""The commands that a finished training proposes: pasted into a shell, each works."""

import shlex
from pathlib import Path

import pytest
import timm

from lightning_modules.cli.next_commands import counterpart, next_commands


def config(**changes):
    """The settings of a run, as far as they matter here."""
    found = {
        "name": "my run",
        "runs": "runs",
        "ckpt_path": None,
        "model": {"model_kwargs": None, "pretrained": False, "optimizer": {"groups": {}}},
        "trainer": {"max_epochs": 5, "callbacks": None},
    }
    for key, value in changes.items():
        if isinstance(value, dict):
            found[key].update(value)
        else:
            found[key] = value
    return found


def commands(saved=("last", "best"), network="mobilenetv2_cifar", **changes):
    return next_commands(config(**changes), Path("runs/my run/version_0"), network, 32, set(saved))


def test_names_are_quoted_for_the_shell():
    other, longer, predict, models = (shlex.split(line) for line in commands())
    assert other[:4] == ["dyc", "fit", "--config", "runs/my run/version_0/config.yaml"]
    assert other[4:] == ["--model.model", "dyc_mobilenetv2_cifar", "--name", "my run_dyc_mobilenetv2_cifar"]
    assert longer[4:] == ["--ckpt_path", "last", "--trainer.max_epochs", "10"]
    assert predict == ["dyc", "predict", "--name", "my run", "--ckpt_path", "best"]
    assert models == ["dyc", "models"]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"model": {"model_kwargs": {"drop_rate": 0.1}}}, ["--model.model_kwargs", "{}"]),
        ({"model": {"pretrained": True}}, ["--model.pretrained", "false"]),
        ({"model": {"optimizer": {"groups": {"a": {}}}}}, ["--model.optimizer.groups", "{}"]),
        ({"ckpt_path": "runs/x.ckpt"}, ["--ckpt_path", "null"]),
    ],
)
def test_what_fits_the_trained_network_alone_is_reset_for_another(changes, options):
    assert shlex.split(commands(**changes)[0])[-2:] == options


def test_weights_are_kept_for_a_network_that_has_them():
    shown = commands(network="dyc_resnet18", model={"pretrained": True})[0]
    assert "--model.model resnet18" in shown
    assert "pretrained" not in shown


def test_what_cannot_be_done_is_not_proposed():
    rewiring = {"callbacks": [{"class_path": "lightning_modules.ChannelRewiring"}]}
    assert [shlex.split(c)[1] for c in commands(trainer=rewiring)] == ["fit", "predict", "models"]
    assert [shlex.split(c)[1] for c in commands(saved=(), trainer={"max_epochs": -1})] == ["fit", "models"]
    assert "--runs elsewhere" in commands(runs="elsewhere")[2]


@pytest.mark.parametrize(
    ("model", "image_size", "other"),
    [
        ("dyc_mobilenetv2_cifar", 32, "mobilenetv2_cifar"),
        ("mobilenetv2_cifar", 32, "dyc_mobilenetv2_cifar"),
        ("dyc_mobilenetv2", 224, "mobilenetv2_100"),
        ("select_densenet40", 32, "densenet40"),
        ("resnet18.a1_in1k", 224, "dyc_resnet18"),
        ("test_resnet", 32, "dyc_mobilenetv2_cifar"),
        ("test_resnet", 224, "dyc_mobilenetv2_100"),
        ("tf_efficientnet_b0", 224, "dyc_mobilenetv2_100"),
    ],
)
def test_the_other_network_suits_the_images(model, image_size, other):
    assert counterpart(model, image_size) == other
    assert timm.is_model(other)
