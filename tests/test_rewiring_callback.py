"""ChannelRewiring: when a network changes, that its whole state is resumed and shared, and what is refused.

Run as a program, it is one of the processes that train together.
"""

import copy
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from timm import is_model
from timm.models import register_model
from torch import nn

import dyc
from lightning_modules import ChannelRewiring, ImageClassifier, ImageData, OptimizerSettings, ScheduleSettings
from lightning_modules.callbacks import EpochReport, EpochSeed, rewiring
from lightning_modules.cli import main
from ops import ArgumentError


class TinySelective(nn.Module):
    """Three selective layers of digits; the second one only closes channels."""

    def __init__(self, in_chans=1, num_classes=10, reallocate=True):
        super().__init__()
        self.num_classes = num_classes
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.a = dyc.SelectiveConv2d(8, 16, 1, reallocate=reallocate)
        self.b = dyc.SelectiveConv2d(16, 8, 3, padding=1, reallocate=False)
        self.c = dyc.SelectiveConv2d(16, 16, 1, reallocate=reallocate)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.c(torch.cat([x, self.b(self.a(x))], 1)).mean((2, 3)))


if not is_model("tiny_selective"):

    @register_model
    def tiny_selective(pretrained=False, **kwargs):
        return TinySelective(**{k: v for k, v in kwargs.items() if k in ("in_chans", "num_classes", "reallocate")})


GAMMA = 0.2  # so large that a network of few channels and epochs closes some


def digits():
    return ImageData("digits", batch_size=32, crop_padding=1, hflip=0.0)


def fit(*callbacks, epochs=4, batches=3, classifier=None, ckpt_path=None, **options):
    classifier = classifier or ImageClassifier("tiny_selective", channels_last=False)
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[EpochSeed(0), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"accelerator": "cpu", **options},
    )
    trainer.fit(classifier, digits(), ckpt_path=ckpt_path)
    return classifier, trainer


def channels(net):
    """Return mask and pointers of every layer."""
    return {name: (layer.mask.tolist(), layer.pointers.tolist()) for name, layer in dyc.iter_selective(net)}


class History(Callback):
    """Keep what the network was made of when each epoch was evaluated."""

    def __init__(self):
        self.channels, self.tables, self.logged = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.channels.append(channels(pl_module.net))
        self.tables.append(dyc.selective_layers(pl_module.net))
        self.logged.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    @property
    def changed(self):
        """The epochs that a change came before."""
        return [i for i in range(1, len(self.channels)) if self.channels[i] != self.channels[i - 1]]


# When it happens, and what is logged


@pytest.mark.parametrize(
    ("kwargs", "epochs", "expected"),
    [
        ({}, 7, [1, 2, 3, 4]),  # after the evaluation of epochs 0, 1, 2 and 3, which come before 3.5
        ({}, 4, [1, 2]),
        ({"until": 3}, 7, [1, 2, 3]),
        ({"until": 1.0}, 4, [1, 2, 3]),
        ({"until": 0.8, "every": 2}, 7, [2, 4, 6]),
    ],
)
def test_network_changes_before_these_epochs(kwargs, epochs, expected):
    history = History()
    fit(ChannelRewiring(gamma=GAMMA, **kwargs), history, epochs=epochs, batches=1)
    assert history.changed == expected


def test_share_of_the_epochs_is_not_rounded_up():
    assert 0.07 * 100 > 7  # in floating point
    assert ChannelRewiring(until=0.07)._changes(Trainer(max_epochs=100, logger=False, accelerator="cpu")) == 7


def test_what_is_logged_is_what_is_evaluated(capsys):
    history = History()
    classifier, _ = fit(ChannelRewiring(gamma=GAMMA), history, EpochReport())
    before = {"closed": 0, "reallocated": 0}
    for table, logged in zip(history.tables, history.logged):
        for row in table:
            for key in ("open", "closed", "reallocated"):
                assert logged[f"channels/{key}/{row.name}"] == getattr(row, key)
            assert logged[f"channels/parameters/{row.name}"] == row.effective_parameters
        total = table.total
        assert logged["channels/parameters"] == table.effective_parameters
        assert (logged["channels/open"], logged["channels/closed"]) == (total.open, total.closed)
        assert logged["channels/reallocated"] == total.reallocated
        # Every closed channel was open before; of those that closed, some were re-used at once.
        grown = total.closed - before["closed"]
        assert logged["channels/newly_closed"] - logged["channels/newly_reallocated"] == grown
        before = {"closed": total.closed, "reallocated": total.reallocated}
    assert [bool(logged["channels/newly_closed"]) for logged in history.logged] == [False, True, True, False]
    printed = capsys.readouterr().out
    assert "0 dynamic layers, 3 selective layers, on cpu" in printed
    assert f"closed {total.closed}, re-allocated {total.reallocated}" in printed
    assert total.closed > 0
    assert total.reallocated > 0
    assert classifier.net.a.mask.all()


def test_compression_only_closes():
    history = History()
    classifier, _ = fit(ChannelRewiring("compression", gamma=GAMMA), history, epochs=6)
    closed = [table.total.closed for table in history.tables]
    assert 0 == closed[0] < closed[1] < closed[3] == closed[5]
    for early, late in zip(history.channels, history.channels[1:]):
        assert all(not (now and not old) for name in early for old, now in zip(early[name][0], late[name][0]))
    assert all(table.total.reallocated == 0 for table in history.tables)
    assert all((layer.pointers == -1).all() for _, layer in dyc.iter_selective(classifier.net))


def test_seed_and_epoch_alone_decide():
    def sources(seed):
        torch.manual_seed(1)
        classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1})
        return channels(fit(ChannelRewiring(gamma=GAMMA, seed=seed), classifier=classifier)[0].net)

    assert sources(0) == sources(0) != sources(1)


def test_nothing_is_drawn_from_the_global_generators():
    class Spy(ChannelRewiring):
        def _rewire(self, *args):
            before = torch.get_rng_state()
            found = super()._rewire(*args)
            assert found[1] > 0
            assert torch.equal(torch.get_rng_state(), before)
            return found

    fit(Spy(gamma=GAMMA), epochs=2)


# The network, its average and the optimiser


class Watch(ChannelRewiring):
    """Keep momentum and outputs around the last change."""

    def _rewire(self, trainer, pl_module):
        net, optimizer = pl_module.net, trainer.optimizers[0]

        def momentum():
            return {n: optimizer.state[p]["momentum_buffer"].clone() for n, p in net.named_parameters()}

        self.before = momentum()
        found = super()._rewire(trainer, pl_module)
        self.after, self.slots = momentum(), {name: layer.slots for name, layer in dyc.iter_selective(net)}
        self.averages = {name: value.clone() for name, value in self.average(pl_module).items()}
        return found

    @staticmethod
    def average(pl_module):
        return {} if pl_module.ema is None else pl_module.ema.module.state_dict()


@pytest.mark.parametrize("reset", [True, False])
def test_momentum_of_re_used_channels(reset):
    watch = Watch(gamma=GAMMA, reset_momentum=reset)
    fit(watch, epochs=2)
    assert len(watch.slots["a"]) > 0
    for name, after in watch.after.items():
        layer, _, parameter = name.partition(".")
        expected = watch.before[name].clone()
        if reset and layer in ("a", "c"):
            expected.index_fill_(1 if parameter == "conv.weight" else 0, watch.slots[layer], 0)
            # The shifts had no momentum yet.
            assert parameter == "shift" or not torch.equal(expected, watch.before[name])
        assert torch.equal(after, expected), name


def test_moving_average_changes_alike():
    classifier = ImageClassifier("tiny_selective", ema_decay=0.9)
    watch = Watch(gamma=GAMMA)
    fit(watch, classifier=classifier)
    average = classifier.ema.module
    assert channels(average) == channels(classifier.net)
    for (_, own), (_, averaged) in zip(dyc.iter_selective(classifier.net), dyc.iter_selective(average)):
        assert torch.equal(own.slots, averaged.slots)
        assert torch.equal(own.sources, averaged.sources)
        assert own.conv.has_closed == averaged.conv.has_closed
    # Just after the change new copies have the new shift and no weight, in the average too.
    slots = watch.slots["a"]
    assert not watch.averages["a.conv.weight"][:, slots].any()
    assert watch.averages["a.shift"][slots].all()
    assert not torch.equal(average.a.conv.weight, classifier.net.a.conv.weight)


def test_moving_average_starts_at_the_shifts_that_were_drawn():
    class Spy(Watch):
        def _rewire(self, trainer, pl_module):
            found = super()._rewire(trainer, pl_module)
            self.shifts = [layer.shift[layer.slots].clone() for layer in (pl_module.net.a, pl_module.ema.module.a)]
            return found

    spy = Spy(gamma=GAMMA)
    fit(spy, classifier=ImageClassifier("tiny_selective", ema_decay=0.9), epochs=2)
    assert len(spy.shifts[0]) > 0
    assert torch.equal(*spy.shifts)


def test_closed_channels_act_neither_in_training_nor_in_evaluation():
    classifier, _ = fit(ChannelRewiring("compression", gamma=GAMMA))
    net, x = classifier.net, torch.randn(8, 1, 8, 8)
    outputs = {}
    for spoilt in (False, True):
        for _, layer in dyc.iter_selective(net):
            assert not layer.mask.all()
            if spoilt:
                layer.conv.weight.data[:, ~layer.mask] = float("nan")
        for mode in (True, False):
            outputs[spoilt, mode] = copy.deepcopy(net).train(mode)(x)
    for mode in (True, False):
        assert torch.equal(outputs[False, mode], outputs[True, mode])


def test_compiled_network_stays_compiled():
    """Sizes that change with every epoch do not add up to the number of recompilations that PyTorch allows."""
    counters = torch._dynamo.utils.counters

    class Graphs(History):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            self.logged.append(dict(counters["frames"]))

    def run(compiled):
        torch.manual_seed(0)
        classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1})
        if compiled:
            classifier.net.compile(backend="eager")  # what is traced matters here, not the code that is made of it
        history = Graphs()
        fit(ChannelRewiring(gamma=GAMMA, until=1.0), history, epochs=4, batches=1, classifier=classifier)
        return classifier.net, history

    torch.compiler.reset()
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=3):
        net, history = run(compiled=True)
    sizes = [tuple(row.reallocated for row in table) for table in history.tables]
    assert len(set(sizes)) == 4, "or the test would not reach the limit"
    frames = history.logged[-1]
    assert frames["total"] == frames["ok"] == 2 * len(sizes), "training and evaluation of each size"
    plain, _ = run(compiled=False)
    assert channels(plain) == channels(net)
    torch.testing.assert_close(plain.a.shift, net.a.shift, rtol=1e-4, atol=1e-5)


# Checkpoints


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


OPTIONS = [
    "--model.model=tiny_selective",
    "--model.ema_decay=0.9",
    "--data.batch_size=32",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.callbacks+=lightning_modules.ChannelRewiring",
    f"--trainer.callbacks.gamma={GAMMA}",
    "--trainer.callbacks.until=4",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--model.schedule.sched=constant",
    "--wandb=disabled",
]


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
    assert whole["callbacks"]["ChannelRewiring"] == parts["callbacks"]["ChannelRewiring"] == {"rewired": 4}


def test_epoch_that_goes_on_in_its_middle_is_not_changed_twice(tmp_path):
    class Interrupted(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (2, 0):
                trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)

    class Spy(ChannelRewiring):
        def _rewire(self, trainer, pl_module):
            epochs.append(trainer.current_epoch)
            return super()._rewire(trainer, pl_module)

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            super().on_train_epoch_start(trainer, pl_module)  # whether or not Lightning calls it after a restart

        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)

    epochs = []
    fit(Spy(gamma=GAMMA, until=1.0), Interrupted())
    assert epochs == [1, 2, 3]
    epochs = []
    fit(Spy(gamma=GAMMA, until=1.0), ckpt_path=tmp_path / "x.ckpt")
    assert epochs == [3]


def test_callback_of_another_training_starts_anew():
    callback = ChannelRewiring(gamma=GAMMA)
    histories = [History(), History()]
    for history in histories:
        fit(callback, history, epochs=2)
    assert [history.changed for history in histories] == [[1], [1]]


# Two processes


def test_two_processes_end_with_the_network_that_the_first_decided(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    assert first["net"].keys() == second["net"].keys()
    for name, value in first["net"].items():
        # Running statistics are those of each process's own images until the next step.
        assert "running_" in name or torch.equal(value, second["net"][name]), name
    for one, other in zip(first["momentum"], second["momentum"]):
        assert torch.equal(one, other)
    assert len(first["plans"]) == 3
    assert second["plans"] == []
    drawn = first["plans"][-1]["a"].reallocation
    assert len(drawn.slots) > 0
    for state in (first, second):
        assert torch.equal(state["net"]["a.pointers"][drawn.slots], drawn.pointers)


def train_with_others(folder):
    """Train in two processes, this one and a copy that Lightning starts, and save what each ends with."""
    plans = []
    decide = rewiring.plan_rewiring
    rewiring.plan_rewiring = lambda *args: plans.append(decide(*args)) or plans[-1]
    settings = OptimizerSettings(lr=0.05)
    classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1}, optimizer=settings)
    callback = ChannelRewiring(gamma=GAMMA, until=1.0, seed=int(os.environ.get("LOCAL_RANK", 0)))
    _, trainer = fit(callback, classifier=classifier, devices=2, strategy="ddp")
    state = trainer.optimizers[0].state.values()
    found = {"net": classifier.net.state_dict(), "momentum": [s["momentum_buffer"] for s in state], "plans": plans}
    torch.save(found, folder / f"{trainer.global_rank}.pt")


# What is refused


@pytest.mark.parametrize(
    ("kwargs", "argument"),
    [
        ({"mode": "acuracy"}, "mode"),
        ({"gamma": 1.0}, "gamma"),
        ({"gamma": -1e-3}, "gamma"),
        ({"num_sources": -1}, "num_sources"),
        ({"max_uses": 0}, "max_uses"),
        ({"until": 0}, "until"),
        ({"until": 1.5}, "until"),
        ({"until": float("nan")}, "until"),
        ({"until": "half"}, "until"),
        ({"every": 0}, "every"),
    ],
)
def test_wrong_arguments_are_named(kwargs, argument):
    with pytest.raises(ArgumentError, match=f"^ChannelRewiring.{argument}: got .*; need "):
        ChannelRewiring(**kwargs)


def test_schedule_longer_than_the_training():
    with pytest.raises(ArgumentError, match=r"ChannelRewiring.until: got 5 epochs; need at most 4"):
        fit(ChannelRewiring(until=5))


def test_share_of_an_unknown_length():
    with pytest.raises(ArgumentError, match=r"trainer.max_epochs: got -1; need a number, as ChannelRewiring.until=0.5"):
        fit(ChannelRewiring(), epochs=-1, max_steps=3, classifier=constant())
    history = History()
    fit(ChannelRewiring(gamma=GAMMA, until=2), history, epochs=-1, max_steps=12, classifier=constant())
    assert history.changed == [1, 2]


def constant():
    return ImageClassifier("tiny_selective", schedule=ScheduleSettings("none"))


def test_network_without_selective_layers():
    with pytest.raises(ArgumentError, match=r"'mobilenetv2_cifar', which has no selective layer; need"):
        fit(ChannelRewiring(), classifier=ImageClassifier("mobilenetv2_cifar"))


def test_network_whose_layers_only_close():
    def classifier():
        return ImageClassifier("tiny_selective", model_kwargs={"reallocate": False})

    with pytest.raises(ArgumentError, match=r"ChannelRewiring.mode: got 'accuracy' .*; need 'compression'"):
        fit(ChannelRewiring(), classifier=classifier())
    fit(ChannelRewiring("compression"), classifier=classifier())


def test_command_line_names_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *OPTIONS, "--trainer.callbacks.gamma=2", "--trainer.max_epochs=4"]) == 2
    assert "ChannelRewiring.gamma: got 2.0; need a share in [0, 1)" in capsys.readouterr().err
    assert main(["fit", *OPTIONS, "--trainer.max_epochs=3"]) == 2
    assert "ChannelRewiring.until: got 4 epochs; need at most 3" in capsys.readouterr().err


if __name__ == "__main__":
    train_with_others(Path(sys.argv[1]))
