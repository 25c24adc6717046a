"""ChannelRewiring: a checkpoint holds the network that was evaluated, and a resumed run goes on with it."""

import csv
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from support.selective_training import GAMMA, OPTIONS, History, channels, digits, fit

from lightning_modules import ChannelRewiring, ImageClassifier
from lightning_modules.cli import main
from ops import ArgumentError


class Keep(Callback):
    """Save a checkpoint and the loss of every evaluation, as the run's own checkpoints do."""

    def __init__(self, folder):
        self.folder, self.losses = folder, []

    def on_train_epoch_end(self, trainer, pl_module):
        self.losses.append(trainer.callback_metrics["val/loss"].item())
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt", weights_only=False)


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_checkpoint_reproduces_its_evaluation(tmp_path, ema_decay):
    keep, history = Keep(tmp_path), History()
    classifier = ImageClassifier("tiny_selective", ema_decay=ema_decay)
    _, trainer = fit(ChannelRewiring(gamma=GAMMA, until=1.0), keep, history, classifier=classifier)
    assert history.changed == [1, 2, 3]
    for epoch, loss in enumerate(keep.losses):
        again = ImageClassifier.load_from_checkpoint(tmp_path / f"{epoch}.ckpt", weights_only=True)
        assert channels(again.net) == channels(again.evaluated) == history.channels[epoch]
        found = trainer.validate(again, digits(), verbose=False)
        assert found[0]["val/loss"] == loss


def test_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(name, epochs, *more):
        assert main(["fit", f"--name={name}", f"--trainer.max_epochs={epochs}", *OPTIONS, *more]) == 0
        newest = max((tmp_path / "runs" / name).glob("version_*"))
        rows = list(csv.DictReader((newest / "metrics.csv").open()))
        rows = [{k: v for k, v in r.items() if k.startswith("channels/")} for r in rows if r["channels/closed"]]
        return torch.load(newest / "checkpoints/last.ckpt", weights_only=True), rows

    whole, rows = run("whole", 6)
    run("parts", 2, "--trainer.callbacks.until=2")
    config = tmp_path / "runs/parts/version_0/config.yaml"
    assert "class_path: lightning_modules.ChannelRewiring" in config.read_text()
    parts, later = run("parts", 6, "--ckpt_path=last")

    assert len(rows) == 6
    assert later == rows[2:]
    # Before epoch 2, the first one after the restart, and until epoch 4.
    assert [float(row["channels/newly_reallocated"]) > 0 for row in rows] == [False, True, True, True, True, False]
    assert whole["state_dict"].keys() == parts["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    one, other = (checkpoint["optimizer_states"][0]["state"] for checkpoint in (whole, parts))
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key]["momentum_buffer"], other[key]["momentum_buffer"])
    kept = whole["callbacks"]["ChannelRewiring"]
    assert kept == parts["callbacks"]["ChannelRewiring"]
    assert kept["rewired"] == 4
    assert kept["newly"] == [float(rows[4][f"channels/newly_{what}"]) for what in ("closed", "reallocated")]


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_train_batch_end"])
def test_epoch_that_goes_on_in_its_middle_is_not_changed_twice(tmp_path, hook):
    class Interrupted(Callback):
        def save(self, trainer, pl_module, outputs=None, batch=None, batch_idx=0):
            if (trainer.current_epoch, batch_idx) == (2, 0):
                trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)

    setattr(Interrupted, hook, Interrupted.save)

    class Spy(ChannelRewiring):
        def _rewire(self, trainer, pl_module):
            epochs.append(trainer.current_epoch)
            return super()._rewire(trainer, pl_module)

    def logged(history):
        return {key: value for key, value in history.logged[-2].items() if key.startswith("channels/")}

    epochs, whole, later = [], History(), History()
    fit(Spy(gamma=GAMMA, until=1.0), Interrupted(), whole)
    assert epochs == [1, 2, 3]
    epochs = []
    fit(Spy(gamma=GAMMA, until=1.0), later, ckpt_path=tmp_path / "x.ckpt")
    assert epochs == [3]
    assert len(later.logged) == 2
    assert logged(later) == logged(whole)
    assert logged(whole)["channels/newly_closed"] > 0


@pytest.mark.parametrize("step", [5, 6])  # in the middle of the second of four epochs, and after its last batch
def test_steps_of_an_epoch_that_goes_on(tmp_path, step):
    whole, rest = History(), History()
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    expected, _ = fit(ChannelRewiring(gamma=GAMMA, until=1.0), whole, checkpoints)
    path = tmp_path / f"step={step}.ckpt"
    found, _ = fit(ChannelRewiring(gamma=GAMMA, until=1.0), rest, ckpt_path=path)
    assert rest.channels == whole.channels[1:]
    figures = [
        {k: v for k, v in history.logged[i].items() if k.startswith(("channels/", "train/top1", "train/loss", "val/"))}
        for i, history in enumerate((rest, whole))
    ]
    assert figures[0].pop("train/loss_step", None) in (None, figures[1].pop("train/loss_step"))
    assert figures[0] == figures[1]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


def test_callback_of_another_training_starts_anew():
    callback = ChannelRewiring(gamma=GAMMA)
    histories = [History(), History()]
    for history in histories:
        fit(callback, history, epochs=2)
    assert [history.changed for history in histories] == [[1], [1]]


def test_resumed_run_goes_on_with_its_seed(tmp_path, monkeypatch):
    def run(seed, env, **options):
        monkeypatch.setenv("PL_GLOBAL_SEED", env)
        torch.manual_seed(1)
        classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1})
        callback = ChannelRewiring(gamma=GAMMA, until=2, seed=seed)
        return channels(fit(callback, Keep(tmp_path), classifier=classifier, epochs=3, **options)[0].net)

    whole = run(None, "1")
    assert run(None, "2", ckpt_path=tmp_path / "1.ckpt") == whole
    assert run(2, "1", ckpt_path=tmp_path / "1.ckpt") != whole


def test_settings_that_changed_are_told():
    before, after = ChannelRewiring(gamma=0.1, until=3, seed=1), ChannelRewiring(gamma=0.2, until=3, every=2)
    with pytest.warns(UserWarning, match="ChannelRewiring goes on") as told:
        after.load_state_dict(before.state_dict())
    assert [str(w.message).split(": ")[1] for w in told] == ["gamma=0.2 (was 0.1), every=2 (was 1)"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChannelRewiring(gamma=0.1, until=3).load_state_dict(before.state_dict())
    with pytest.raises(ArgumentError, match=r"ckpt_path: the checkpoint does not say in which epoch ChannelRewiring"):
        after.load_state_dict({})
