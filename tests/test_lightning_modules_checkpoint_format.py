"""A checkpoint says which format it has; one of a newer format is refused in one line that says what to install."""

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_modules import ImageClassifier
from lightning_modules.checkpoint_format import FORMAT, KEY, check_format
from lightning_modules.runs import read_checkpoint
from ops import ArgumentError


@pytest.fixture
def saved(tmp_path):
    classifier = ImageClassifier("test_resnet", {"in_chans": 1}, num_classes=10)
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    return tmp_path / "x.ckpt"


def changed(path, **changes):
    torch.save(torch.load(path, weights_only=True) | changes, path)
    return path


def test_a_checkpoint_has_a_format(saved):
    assert read_checkpoint(saved)[KEY]["format"] == FORMAT


def test_a_newer_format_is_refused_by_commands_and_from_python(saved, raises):
    changed(saved, **{KEY: {"format": FORMAT + 1, "version": "9.9"}})
    expected = f"format {FORMAT + 1}, written by version 9.9 of dyc", f"format {FORMAT} or older: install that version"
    with raises("ckpt_path", f"'{saved}' of " + expected[0], expected[1]):
        read_checkpoint(saved)
    with raises("ckpt_path", *expected):
        ImageClassifier.load_from_checkpoint(saved, weights_only=True)


@pytest.mark.parametrize("older", [None, {}, "0.9"])
def test_a_checkpoint_from_before_there_was_a_format_is_read(saved, older):
    check_format(read_checkpoint(changed(saved, **{KEY: older})))


def test_what_a_newer_version_of_the_same_format_added_is_left_alone(saved):
    settings = torch.load(saved, weights_only=True)["hyper_parameters"]
    changed(saved, hyper_parameters={**settings, "not_known_yet": 1}, not_known_yet=2)
    assert read_checkpoint(saved)["not_known_yet"] == 2
    assert ImageClassifier.load_from_checkpoint(saved, weights_only=True).num_classes == 10


@pytest.mark.parametrize("settings", [{"model": "x"}, {"hidden": 3}, ["model"], "model"])
def test_another_program_s_checkpoint_is_refused(saved, settings):
    with pytest.raises(ArgumentError, match=r"without a network's settings; need a checkpoint of `dyc fit`"):
        read_checkpoint(changed(saved, hyper_parameters=settings))
