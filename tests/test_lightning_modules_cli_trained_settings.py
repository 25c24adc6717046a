"""A network made dynamic by options: trained, resumed, evaluated and compacted by its checkpoint alone."""

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from torch import nn

import dyc
from lightning_modules import ImageClassifier, ImageData
from lightning_modules.cli import main
from lightning_modules.cli.trained_settings import take_evaluation

FIT = ["fit", "--data.batch_size=32", "--trainer.limit_train_batches=1", "--wandb=disabled", "--data.image_size=32"]
FIT += ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false"]
FIT += ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--model.model=test_efficientnet"]
QUICK = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "logger": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run whose network options made dynamic, the short form being in its configuration."""
    folder = tmp_path_factory.mktemp("conversions")
    (folder / "short.yaml").write_text("model:\n  dynamic: dy\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*FIT, "--config=short.yaml", "--model.dynamic.num_kernels=2", "--name=dynamic"]) == 0
        argv = [*FIT, "--model.model=test_resnet", "--model.selective=true", "--model.selective.reallocate=false"]
        assert main([*argv, "--model.selective.where=layer.*conv2", "--name=selective"]) == 0
    return folder


@pytest.fixture
def inside(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained / "runs/dynamic/version_0"


def test_how_images_are_evaluated_is_as_in_training_but_for_what_was_given():
    usual = {"window": None, "overlap": 0.5, "scales": [1.0], "flip": False}
    trained = {"evaluation": {**usual, "window": 512, "flip": True, "of a newer version": 1}}
    for given, want in (
        (None, {**usual, "window": 512, "flip": True}),
        (Namespace(evaluation=Namespace(flip=False)), {**usual, "window": 512}),
        (Namespace(evaluation=Namespace(scales=[2.0])), {"window": 512, "overlap": 0.5, "scales": [2.0], "flip": True}),
    ):
        config = Namespace(evaluation=Namespace(**{**usual, **vars(given.evaluation if given else Namespace())}))
        take_evaluation(config, given, trained)
        assert vars(config.evaluation) == want
    config = Namespace(model="a network of a task without such settings")
    take_evaluation(config, None, {})
    assert vars(config) == {"model": "a network of a task without such settings"}


@pytest.mark.exhaustive  # the parser is built anew for each
def test_both_forms_are_one_group(inside):
    config = yaml.safe_load((inside / "config.yaml").read_text())["model"]
    assert (config["dynamic"]["attention"], config["dynamic"]["num_kernels"]) == ("dy", 2)
    assert (config["selective"], "net" in config) == (None, False)
    classifier = ImageClassifier.load_from_checkpoint(inside / "checkpoints/last.ckpt", weights_only=True)
    layers = dyc.dynamic_layers(classifier.net)
    assert layers
    assert all((row.attention, row.num_kernels) == ("dy", 2) for row in layers)


@pytest.mark.parametrize(
    "argv",
    [
        ["test", "--name=dynamic", "--ckpt_path=last"],
        ["validate", "--name=dynamic", "--ckpt_path=best", "--model.dynamic=dy", "--model.dynamic.backend=eager"],
        ["test", "--config=runs/dynamic/version_0/config.yaml", "--ckpt_path=last"],
        [*FIT, "--name=dynamic", "--ckpt_path=last", "--trainer.max_epochs=2"],
        ["compact", "--name=selective", "--batch=1", "--seconds=0.01"],
    ],
)
def test_checkpoint_says_what_its_network_was_made_by(inside, argv):
    assert main(argv) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model.dynamic=dyc"], "model.dynamic.attention: got dyc; need dy, as in the checkpoint"),
        (["--model.dynamic.num_kernels=4"], "model.dynamic.num_kernels: got 4; need 2, as in the checkpoint"),
        (["--model.selective=true"], "need None, as in the checkpoint"),
        (["--model.dynamic.wher=x"], "model.dynamic: got 'wher' (did you mean 'where'?)"),
    ],
)
@pytest.mark.parametrize("command", [["test"], [*FIT, "--trainer.max_epochs=9"]])
def test_other_settings_than_the_checkpoint(inside, capsys, command, argv, message):
    assert main([*command, "--name=dynamic", f"--ckpt_path={inside}/checkpoints/last.ckpt", *argv]) == 2
    assert message in capsys.readouterr().err


def test_wrong_layers_are_named(inside, capsys):
    assert main([*FIT, "--model.dynamic=dyc", "--model.dynamic.where=depthwize"]) == 2
    assert "model.dynamic.where: got 'depthwize' (did you mean 'depthwise'?)" in capsys.readouterr().err


def test_checkpoint_of_a_network_that_has_no_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    trainer = Trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", **QUICK)
    trainer.fit(ImageClassifier(net=net), ImageData("digits", batch_size=8))
    trainer.save_checkpoint("x.ckpt")
    assert "net" in torch.load("x.ckpt", weights_only=True)["hyper_parameters"]
    for command in (["test", "--ckpt_path=x.ckpt"], ["compact", "--ckpt_path=x.ckpt"]):
        assert main(command) == 2
        assert "load_from_checkpoint(..., net=...)" in capsys.readouterr().err
