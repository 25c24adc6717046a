"""Stopping and resuming gives the network that training in one go gives, bit for bit."""

import csv

import pytest
import torch

from lightning_modules.cli import main

DYNAMIC = [
    "--model.model=test_efficientnet",
    "--model.dynamic=dyc",
    "--model.model_kwargs.drop_rate=0.2",  # draws from PyTorch's generator
]
OPTIONS = [
    "--model.regularization.mixup=0.2",  # draws from NumPy's generator
    "--model.schedule.sched=multistep",
    "--model.schedule.decay_milestones=[2,3]",
    "--model.ema_decay=0.9",
    "--data.batch_size=16",
    "--data.image_size=32",
    "--data.hflip=0.5",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.callbacks+=lightning_modules.TemperatureAnnealing",
    "--trainer.callbacks.epochs=4",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--wandb=disabled",
]


@pytest.fixture
def fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(name, epochs, *more):
        assert main(["fit", f"--name={name}", f"--trainer.max_epochs={epochs}", *OPTIONS, *more]) == 0
        newest = max((tmp_path / "runs" / name).glob("version_*"), key=lambda p: int(p.name.split("_")[1]))
        return torch.load(newest / "checkpoints" / "last.ckpt", weights_only=True)

    return run


def test_resumed_run_equals_an_uninterrupted_one(fit, tmp_path, capsys):
    whole = fit("whole", 4, *DYNAMIC)
    fit("parts", 2, *DYNAMIC)
    first = tmp_path / "runs/parts/version_0"
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
    parts = fit("parts", 4, "--ckpt_path=last", *DYNAMIC)

    assert "resuming from runs/parts/version_0/checkpoints/last.ckpt" in capsys.readouterr().out
    assert parts["epoch"] == whole["epoch"] == 3
    assert parts["state_dict"].keys() == whole["state_dict"].keys()
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, parts["state_dict"][name]), name
    temperatures = [v for k, v in parts["state_dict"].items() if k.endswith("temperature")]
    assert {t.item() for t in temperatures} == {1.0}
    assert whole["optimizer_states"][0]["param_groups"] == parts["optimizer_states"][0]["param_groups"]
    # Nothing of the first part was changed: the second one has its own folder.
    assert {p: p.read_bytes() for p in before} == before


SMALL = ["--model.model=test_resnet"]


@pytest.mark.parametrize("per_update", ["true", "false"])
def test_training_on_follows_the_longer_schedule(fit, tmp_path, per_update):
    """A schedule restored from the first run would end at its end: the last epochs would train at a rate of zero."""
    cosine = [*SMALL, "--model.schedule.sched=cosine", f"--model.schedule.per_update={per_update}"]
    whole = fit("whole", 3, *cosine)
    fit("parts", 1, *cosine)
    parts = fit("parts", 3, "--ckpt_path=last", *cosine)

    def rates(folder):
        rows = csv.DictReader((tmp_path / "runs" / folder / "metrics.csv").open())
        return {row["step"]: row["lr-SGD/pg1"] for row in rows if row["lr-SGD/pg1"]}

    expected = rates("whole/version_0")
    assert len(expected) == 3
    assert len(rates("parts/version_1")) == 2
    assert rates("parts/version_1").items() <= expected.items()
    assert all(float(rate) > 0 for rate in expected.values())
    assert parts["epoch"] == whole["epoch"]


def test_best_network_so_far_is_kept(fit, tmp_path, capsys):
    fit("best", 1, "--ckpt_path=auto", *SMALL)
    assert "starting: runs/best has no checkpoint to resume from\n" in capsys.readouterr().out
    first = tmp_path / "runs/best/version_0/checkpoints/best.ckpt"
    state = torch.load(first, weights_only=True)
    callback = next(key for key in state["callbacks"] if "val/top1" in key)
    # As if the first run had reached what the second one cannot.
    state["callbacks"][callback]["best_model_score"] = torch.tensor(2.0)
    last = tmp_path / "runs/best/version_0/checkpoints/last.ckpt"
    torch.save(state, last)
    fit("best", 2, "--ckpt_path=auto", *SMALL)
    assert "resuming from runs/best/version_0/checkpoints/last.ckpt (step 3, 1 epochs" in capsys.readouterr().out
    assert (tmp_path / "runs/best/version_1/checkpoints/best.ckpt").read_bytes() == first.read_bytes()


def test_a_run_that_was_killed_before_its_test_is_tested(fit, tmp_path):
    fit("done", 1, *SMALL)
    found = tmp_path / "runs/done/version_0/test.csv"
    expected = found.read_text()
    found.unlink()
    assert main(["fit", "--name=done", "--trainer.max_epochs=1", *OPTIONS, *SMALL, "--ckpt_path=auto"]) == 0
    assert (tmp_path / "runs/done/version_1/test.csv").read_text() == expected


def test_steps_between_checkpoints(capsys):
    assert main(["fit", "--checkpoint_every=0", *SMALL, "--wandb=disabled"]) == 2
    assert "checkpoint_every: got 0; need at least 1" in capsys.readouterr().err
