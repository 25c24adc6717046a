"""Commands take checkpoints of older versions, and refuse in one line what they cannot take."""

import sys

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_modules import ImageClassifier
from lightning_modules.cli import main

OPTIONS = [
    *("--data.dataset=digits", "--data.image_size=32", "--data.batch_size=8", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--trainer.limit_test_batches=1"),
]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command for a checkpoint that was changed; return its status and the lines of its errors."""
    monkeypatch.chdir(tmp_path)
    classifier = ImageClassifier("test_resnet", {"in_chans": 1}, num_classes=10)
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint("x.ckpt", weights_only=True)

    def run(name, change):
        checkpoint = torch.load("x.ckpt", weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, "x.ckpt")
        argv = [name, "--ckpt_path=x.ckpt", *OPTIONS]
        monkeypatch.setattr(sys, "argv", ["dyc", *argv])
        status = main(argv)
        return status, [line for line in capsys.readouterr().err.splitlines() if "error" in line or "Trace" in line]

    return run


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fit", lambda x: None, "'x.ckpt' without optimizer_states; need a checkpoint of a whole training"),
        ("fit", lambda x: x.pop("loops"), "'x.ckpt' without loops and optimizer_states; need"),
        ("test", lambda x: x.pop("epoch"), "'x.ckpt' without epoch; need"),
        (
            "test",
            lambda x: x.update(dyc={"format": 99, "version": "9.9"}),
            "'x.ckpt' of format 99, written by version 9",
        ),
        (
            "test",
            lambda x: x["hyper_parameters"].update(dynamic={"attention": "dyc", "not_known_yet": 1}),
            "its network was made by settings that this version of dyc does not know (model.dynamic: got 'not_known_y",
        ),
        ("test", lambda x: x.update(callbacks=torch.nn.Linear(2, 2)), "unreadable (it holds objects whose loading may"),
    ],
)
def test_what_cannot_be_taken_is_one_line(command, name, change, message):
    status, (line,) = command(name, change)
    assert status == 2
    assert line.startswith(f"dyc {name}: error: ckpt_path: ")
    assert message in line


def test_settings_that_are_younger_than_a_checkpoint_have_their_defaults(command):
    assert command("test", lambda x: x["hyper_parameters"].pop("ema_decay")) == (0, [])
