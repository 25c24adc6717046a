"""ChannelRewiring: before which epochs a network changes, what is drawn and logged, and what is refused."""

import warnings

import pytest
import torch
from support.selective_training import GAMMA, OPTIONS, History, channels, fit

import dyc
from lightning_modules import ChannelRewiring, ImageClassifier, ScheduleSettings
from lightning_modules.callbacks import EpochReport
from lightning_modules.cli import main
from ops import ArgumentError

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
    assert ChannelRewiring(until=0.07).schedule.last(100) == 7


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


def test_seed_and_epoch_alone_decide(monkeypatch):
    def sources(seed):
        torch.manual_seed(1)
        classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1})
        return channels(fit(ChannelRewiring(gamma=GAMMA, seed=seed), classifier=classifier, epochs=3)[0].net)

    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert sources(0) == sources(None) != sources(1)
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")  # as seed_everything leaves it
    assert sources(None) == sources(1)


def test_nothing_is_drawn_from_the_global_generators():
    class Spy(ChannelRewiring):
        def _rewire(self, *args):
            before = torch.get_rng_state()
            found = super()._rewire(*args)
            assert found[1] > 0
            assert torch.equal(torch.get_rng_state(), before)
            return found

    fit(Spy(gamma=GAMMA), epochs=2)


def test_a_soft_limit_is_kept_and_exceeded():
    found = []
    for soft in (False, True):
        rewiring = ChannelRewiring(gamma=0.5, max_uses=1, soft_limit=soft)
        classifier, _ = fit(rewiring, epochs=2)
        uses = [
            layer.pointers[layer.pointers >= 0].bincount(minlength=1).max()
            for _, layer in dyc.iter_selective(classifier.net)
        ]
        found.append(max(uses))
        assert rewiring.state_dict()["settings"]["soft_limit"] is soft
    assert found[0] == 1 < found[1]


# What is refused


@pytest.mark.parametrize(
    ("kwargs", "argument"),
    [
        ({"mode": "acuracy"}, "mode"),
        ({"gamma": 1.0}, "gamma"),
        ({"gamma": -1e-3}, "gamma"),
        ({"num_sources": -1}, "num_sources"),
        ({"max_uses": 0}, "max_uses"),
        ({"soft_limit": "yes"}, "soft_limit"),
        ({"until": 0}, "until"),
        ({"until": 1.5}, "until"),
        ({"until": float("nan")}, "until"),
        ({"until": "half"}, "until"),
        ({"every": 0}, "every"),
        ({"seed": "a"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"reset_momentum": "no"}, "reset_momentum"),
    ],
)
def test_wrong_arguments_are_named(kwargs, argument):
    with pytest.raises(ArgumentError, match=f"^ChannelRewiring.{argument}: got .*; need "):
        ChannelRewiring(**kwargs)


def test_schedule_longer_than_the_training():
    with pytest.raises(ArgumentError, match=r"ChannelRewiring.until: got 5 epochs; need at most 4"):
        fit(ChannelRewiring(until=5))


@pytest.mark.parametrize(
    ("kwargs", "epochs", "message"),
    [
        ({}, 1, r"trainer.max_epochs: got 1; need at least 2"),
        ({"until": 1.0, "every": 50}, 3, r"ChannelRewiring.every: got 50 epochs; need at most 2, .* max_epochs=3"),
        ({"until": 3, "every": 4}, 9, r"ChannelRewiring.every: got 4 epochs; need at most 3, .* until=3 "),
        ({"until": 1e-7}, 3, r"ChannelRewiring.until: got 1e-07 of 3 epochs; need at least 0.33"),
        ({"until": 2, "every": 3}, -1, r"ChannelRewiring.every: got 3 epochs; need at most 2"),
    ],
)
def test_training_without_one_change(kwargs, epochs, message):
    with pytest.raises(ArgumentError, match=message):
        fit(ChannelRewiring(**kwargs), epochs=epochs, max_steps=30, classifier=constant())


@pytest.mark.parametrize("until", [0.5, 5])
def test_smoke_test_is_as_short_as_it_is(until):
    history = History()
    fit(ChannelRewiring(until=until), history, fast_dev_run=1)
    assert len(history.logged) == 1


def test_steps_that_end_before_the_schedule_are_told():
    told = r"max_steps=4 ends the training in epoch 1, .* until epoch 3"
    with pytest.warns(UserWarning, match=told):
        fit(ChannelRewiring(gamma=GAMMA, until=3), batches=4, max_steps=4, accumulate_grad_batches=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(ChannelRewiring(gamma=GAMMA, until=1), batches=4, max_steps=8, accumulate_grad_batches=2, epochs=4)
    assert not [w for w in caught if "max_steps" in str(w.message)]


def test_share_of_an_unknown_length():
    with pytest.raises(
        ArgumentError, match=r"trainer.max_epochs: got -1; need a number of epochs, as ChannelRewiring.until=0.5"
    ):
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
