"""A network that is given as CHECKPOINT_OR_MODEL: the same errors in every command."""

import pytest
import torch

from lightning_modules.cli import main
from lightning_modules.cli.given_network import check_not_pretrained, timm_name
from ops import ArgumentError


def test_a_name_of_timms_is_itself_and_others_are_answered_with_close_ones():
    assert timm_name("test_resnet") == "test_resnet"
    with pytest.raises(ArgumentError, match=r"^CHECKPOINT_OR_MODEL: got 'test_resnett' .*'test_resnet'.*; or a dog$"):
        timm_name("test_resnett", "; or a dog")


@pytest.mark.parametrize("command", [["export", "--output", "x.onnx"], ["analyze", "correlation"]])
def test_timms_weights_are_refused_beside_a_checkpoint(command, tmp_path, monkeypatch, capsys):
    check_not_pretrained(False)
    monkeypatch.chdir(tmp_path)
    torch.save({}, "last.ckpt")
    assert main([*command, "last.ckpt", "--pretrained"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.endswith("--pretrained: has no meaning for a checkpoint, which has weights; leave it out")
