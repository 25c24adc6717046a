"""``dyc bench selective``: what selective layers cost and save, in one run."""

import csv

import pytest

from dyc import rewire
from dyc.benchmark.selective import SelectiveCase, silence, time_selective
from dyc.layers import SelectiveConv2d
from lightning_modules.cli import main

SMALL = ["bench", "selective", "--batch", "2", "--input-size", "8", "--seconds", "0.001"]


def test_the_least_important_channels_are_silenced():
    layer = SelectiveConv2d(10, 4, 1)
    strongest = layer.conv.weight.abs().sum((0, 2, 3)).argmax()
    silence(layer, 0.4)
    assert (layer.conv.weight == 0).all(0).sum() == 4
    assert (layer.conv.weight[:, strongest] != 0).all()
    rewire(layer, gamma=0.0, num_sources=0)
    assert layer.mask.tolist() == (layer.conv.weight != 0).any(0).flatten().tolist()


def test_layers_that_only_close_channels_can_be_left_alone():
    layer = SelectiveConv2d(10, 4, 1, reallocate=False)
    silence(layer, 0.4, reallocating_only=True)
    assert (layer.conv.weight != 0).all()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_share_that_is_none(share, raises):
    with raises("share", str(share), "[0, 1)"):
        silence(SelectiveConv2d(4, 2, 1), share)


def test_every_comparison_is_a_row(tmp_path, capsys):
    file = tmp_path / "selective.csv"
    assert main([*SMALL, "--share", "0.5", "--csv", str(file)]) == 0
    assert "50% closed, compact" in capsys.readouterr().out
    with file.open() as opened:
        rows = list(csv.DictReader(opened))
    training, inference = ["plain", "selective", "50% re-used"], ["plain", "50% closed", "50% closed, compact"]
    expected = [("training step", c) for c in training] + [("inference", c) for c in inference]
    assert [(r["mode"], r["contestant"]) for r in rows] == [*expected, ("rewiring", "close and re-use 50%")]
    parameters = [int(r["parameters"]) for r in rows]
    assert parameters[0] == parameters[3] == 211_978
    assert parameters[1] == parameters[2] == parameters[4] == 216_514
    assert parameters[5] < 211_978 // 2 + 10_000
    assert all(float(r["median_ms"]) > 0 for r in rows)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["densenet40"], "model: got 'densenet40'; need a network with selective layers"),
        (["--share", "1"], "--share: got '1'; need a share in [0, 1)"),
        (["--plot", "x.png"], "--plot: this comparison has no picture; use --csv or --markdown"),
    ],
)
def test_wrong_arguments(argv, message, capsys):
    assert main([*SMALL, *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_network_with_nothing_closed_is_as_large_as_the_plain_one():
    case = SelectiveCase("select_densenet40", batch=1, size=8, share=0.0, seconds=0.001)
    parameters = {t.contestant: t.parameters for t in time_selective(case)}
    assert parameters["0% closed, compact"] == parameters["plain"] == 211_978
