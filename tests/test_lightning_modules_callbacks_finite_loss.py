"""FiniteLoss: a training whose loss is no longer a number ends, and its network is never the best."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from lightning_modules import ImageClassifier, ImageData, OptimizerSettings
from lightning_modules.callbacks import BestCheckpoint, FiniteLoss, LastCheckpoint
from lightning_modules.callbacks.finite_loss import LossNotFinite
from lightning_modules.cli import main
from ops import ArgumentError


def fit(*callbacks, lr=0.01, **options):
    classifier = ImageClassifier("test_resnet", optimizer=OptimizerSettings(lr=lr))
    options = {"max_epochs": 2, "limit_train_batches": 4, "limit_val_batches": 1, "num_sanity_val_steps": 0, **options}
    trainer = Trainer(
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(c, BestCheckpoint | LastCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **options,
    )
    trainer.fit(classifier, ImageData("digits", batch_size=8, image_size=32))
    return trainer


class Spoil(Callback):
    """Make the weights NaN before a step, or after it."""

    def __init__(self, epoch, batch, value=float("nan"), before=True):
        self.at, self.value, self.before = (epoch, batch), value, before

    def spoil(self, trainer, pl_module, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.at:
            with torch.no_grad():
                next(pl_module.net.parameters()).fill_(self.value)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.before:
            self.spoil(trainer, pl_module, batch_idx)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if not self.before:
            self.spoil(trainer, pl_module, batch_idx)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_batch_is_named_and_what_to_change(value):
    with pytest.raises(ArgumentError) as error:
        fit(Spoil(1, 2, value), FiniteLoss(), lr=0.03, gradient_clip_val=2.0, precision="bf16-mixed")
    assert str(error.value) == (
        "model.optimizer.lr: the training loss is nan in batch 3 of epoch 2; lower the learning rate (0.03), clip "
        "gradients (trainer.gradient_clip_val is 2), or use another trainer.precision than bf16-mixed"
    )


def test_devices_that_would_be_waited_for_are_looked_at_together(monkeypatch):
    monkeypatch.setattr(ImageClassifier, "device", torch.device("meta"))
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, "stack", lambda losses, *a, **k: stacked.append(len(losses)) or stack(losses, *a, **k))
    with pytest.raises(ArgumentError, match="in batch 2 of epoch 2"):
        fit(Spoil(1, 1), FiniteLoss(every=3))
    assert [count for count in stacked if count <= 3][:2] == [3, 1]  # of four batches


def test_the_last_batches_before_max_steps_are_looked_at(monkeypatch):
    monkeypatch.setattr(ImageClassifier, "device", torch.device("meta"))
    with pytest.raises(LossNotFinite, match="the training loss is nan in batch 1 of epoch 2; "):
        fit(Spoil(1, 0), FiniteLoss(every=50), max_steps=6)


def test_full_precision_is_not_what_to_change():
    with pytest.raises(ArgumentError) as error:
        fit(Spoil(0, 0), FiniteLoss())
    assert str(error.value).endswith(
        "; lower the learning rate (0.01) or clip gradients (trainer.gradient_clip_val is off)"
    )


def test_weights_that_the_last_step_spoilt_are_seen_by_validation():
    with pytest.raises(ArgumentError, match=r"the validation loss is nan in epoch 1; .*gradient_clip_val is off"):
        fit(Spoil(0, 3, before=False), FiniteLoss())


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 2}])
def test_weights_that_the_last_step_spoilt_are_seen_without_a_validation(tmp_path, options):
    with pytest.raises(ArgumentError, match=r"weights are not finite after epoch 1; lower the learning rate \(0\.01\)"):
        fit(Spoil(0, 3, before=False), FiniteLoss(), LastCheckpoint(tmp_path), max_epochs=1, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_network_of_nans_is_never_the_best(tmp_path, epoch):
    best = BestCheckpoint(tmp_path)
    fit(Spoil(epoch, 0), best)
    assert bool(best.best_model_path) is (epoch > 0)
    assert len(list(tmp_path.iterdir())) == epoch
    if epoch:
        assert torch.load(best.best_model_path, weights_only=True)["epoch"] == 0


@pytest.mark.parametrize("stage", ["val", "test"])
def test_one_batch_of_nans_is_not_left_out_of_the_mean(stage, monkeypatch):
    classifier = ImageClassifier(net=nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), num_classes=3)
    logged = {}
    monkeypatch.setattr(classifier, "log_dict", lambda values, **_: logged.update(values))
    for value in (0.0, float("nan"), 1.0):
        classifier._evaluate((torch.full((2, 1, 2, 2), value), torch.tensor([0, 1])), stage)
    classifier._log_evaluation(stage)
    assert logged[f"{stage}/loss"].isnan()


def test_gradients_that_the_scaler_leaves_out_are_no_error():
    class Overflow(Callback):
        def on_after_backward(self, trainer, pl_module):
            next(pl_module.net.parameters()).grad.fill_(float("inf"))

    plugins = [MixedPrecision("16-mixed", "cpu")]  # as Lightning makes it for GPUs
    trainer = fit(Overflow(), FiniteLoss(), plugins=plugins, max_epochs=1)
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_command_line_ends_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--model.model=test_resnet", "--data.image_size=32", "--data.batch_size=16", "--trainer.max_epochs=2"]
    options += ["--trainer.limit_val_batches=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *options, "--model.optimizer.lr=1e18", "--wandb=disabled"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert lines[0].startswith("dyc fit: error: model.optimizer.lr: the training loss is nan in batch ")
    assert "learning rate (1e+18)" in lines[0]
