"""Every command evaluates the images that were held out, whatever its own seed is."""

import argparse

import pytest
import torch
from lightning.fabric.utilities.seed import seed_everything

from experiments.analyze.images import open_images
from lightning_modules.cli import main
from lightning_modules.cli.trained_settings import take_data_settings, take_seed
from lightning_modules.data.splits import Splits
from lightning_modules.labelled_images import data_of
from lightning_modules.runs import read_checkpoint

QUICK = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--wandb=disabled"]
FIT = ["fit", "--model.model=test_resnet", "--data.image_size=32", "--data.val_fraction=0.2", "--data.batch_size=32"]
FIT += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", *QUICK]


@pytest.fixture
def held_out(monkeypatch):
    """List the images that are held out, whenever some are."""
    found, original = [], Splits.settle_validation

    def note(self, *arguments):
        original(self, *arguments)
        found.append(self.val.images)

    monkeypatch.setattr(Splits, "settle_validation", note)
    return found


@pytest.fixture
def holds_out(tmp_path, monkeypatch, held_out, capsys):
    """Train with the seed 3; return a function that tells whether the same images were held out ever since."""
    monkeypatch.chdir(tmp_path)
    assert main([*FIT, "--seed_everything=3", "--trainer.max_epochs=1"]) == 0
    (trained, *_) = held_out
    held_out.clear()
    capsys.readouterr()

    def same():
        assert held_out
        found = [torch.equal(images, trained) for images in held_out]
        held_out.clear()
        return all(found)

    return same


def test_the_images_of_another_seed_are_those_of_the_training(holds_out, capsys, tmp_path):
    # The configuration of the run gives a seed of None.
    argv = ["--config=runs/run/version_0/config.yaml", "--ckpt_path=last", "--seed_everything=7"]
    assert main(["validate", *argv]) == 0
    assert holds_out()
    assert "older version" not in capsys.readouterr().err
    seed_everything(5)
    checkpoint = read_checkpoint(tmp_path / "runs/run/version_0/checkpoints/last.ckpt")
    data_of(checkpoint)
    assert holds_out()
    open_images(argparse.Namespace(images=4, seed=0, device="cpu"), [], checkpoint, {})
    assert holds_out()


@pytest.mark.exhaustive  # three trainings and tests
def test_a_test_and_a_training_that_goes_on_hold_out_the_same(holds_out):
    assert main(["test", "--ckpt_path=last", "--seed_everything=7", *QUICK]) == 0
    assert holds_out()
    assert main(["validate", "--ckpt_path=last", "--data.seed=7", *QUICK]) == 0
    assert not holds_out()
    assert main([*FIT, "--ckpt_path=last", "--seed_everything=7", "--trainer.max_epochs=2"]) == 0
    assert holds_out()


def test_the_seed_that_was_used_is_kept(image_data, segmentation_data, monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    for data in (image_data("digits"), segmentation_data(tmp_path)):
        assert data.hparams.seed == 3
        assert data.hparams_initial.seed is None  # by which runs are compared
    assert image_data("digits", seed=4).hparams.seed == segmentation_data(tmp_path, seed=4).hparams.seed == 4


def test_an_old_checkpoint_does_not_say(capsys):
    def note(**given):
        config = {"dataset": "digits", "val_fraction": 0.0, "seed": None, **given}
        trained = {"dataset": "digits", "val_fraction": 0.2, "seed": None}
        take_data_settings(config, given, {"datamodule_hyper_parameters": trained})
        return capsys.readouterr().err

    said = "note: the checkpoint, of an older version, does not say by which seed data.val_fraction held out images; "
    assert note() == said + "give the training's seed_everything as --data.seed\n"
    assert note(seed=0) == note(val_fraction=0.0) == ""


@pytest.mark.parametrize(
    ("run", "given", "trained", "expected"),
    [
        (0, {}, {"seed": 3}, 3),
        (3, {}, {"seed": 3}, None),  # the usual one, which is left unsaid: runs of several seeds stay one group
        (0, {"seed": None}, {"seed": 3}, 3),
        (0, {"seed": 5}, {"seed": 3}, 5),
        (0, {"dataset": "folder"}, {"seed": 3}, None),
        (0, {}, {"seed": None}, None),
        (0, {}, {}, None),
        (True, {}, {"seed": 1}, 1),
    ],
)
def test_a_training_that_goes_on(run, given, trained, expected):
    config = {"seed_everything": run, "data": {"seed": given.get("seed")}}
    take_seed(config, given, {"datamodule_hyper_parameters": {"dataset": "digits", **trained}})
    assert config["data"]["seed"] == expected
