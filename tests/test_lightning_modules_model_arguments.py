"""A misspelt argument of a network."""

import pytest

from lightning_modules import ImageClassifier
from lightning_modules.cli import main
from ops import ArgumentError


@pytest.mark.parametrize("model", ["dyc_mobilenetv2_cifar", "dyc_mobilenetv1_025", "test_resnet"])
def test_the_argument_that_was_meant_is_named(model):
    wrong, right = ("drop_rat", "drop_rate") if model == "test_resnet" else ("num_kernel", "num_kernels")
    start = rf"^model\.model_kwargs: got '{wrong}' \(did you mean '{right}'"
    with pytest.raises(ArgumentError, match=start) as error:
        ImageClassifier(model, {wrong: 2}, num_classes=10)
    assert f"`dyc models {model} --arguments`" in str(error.value)


def test_the_command_lists_them(capsys):
    assert main(["models", "dyc_mobilenetv2_cifar", "--arguments"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "dyc_mobilenetv2_cifar"
    assert "  num_kernels: int = 4" in shown
    assert main(["models", "resnet18", "--arguments"]) == 0  # of timm, by its full name
    assert "  drop_rate: float = 0.0" in capsys.readouterr().out.splitlines()
