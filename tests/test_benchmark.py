"""The benchmark: the shapes are the networks' own, the means are what they say, and a file is never overwritten."""

import csv

import pytest
import timm
import torch
from torch import nn

import dyc  # noqa: F401  (registers the networks)
from lightning_modules.cli import main
from ops import ArgumentError, benchmark


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [("mobilenetv2_cifar", 32, "mobilenetv2_32"), ("mobilenetv2_100", 224, "mobilenetv2_224")],
)
def test_shapes_are_those_of_the_network(name, size, shapes):
    model = timm.create_model(name).eval().to("meta")
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.register_forward_hook(lambda m, x, y: seen.append((m.in_channels, x[0].shape[2], m.stride[0])))
    model(torch.empty(1, 3, size, size, device="meta"))
    assert tuple(seen) == benchmark.SHAPES[shapes]


def test_every_contestant_is_timed_against_the_static_and_the_grouped_convolution():
    found = list(benchmark.benchmark_ops("mobilenetv2_32", batches=(1,), layouts=("channels_last",), seconds=0.001))
    directions = {t.direction for t in found}
    assert directions == {"forward", "forward+backward"}
    assert {"static", "grouped", "eager"} <= {t.contestant for t in found}
    unique = len(set(benchmark.MOBILENETV2_32))
    assert sum(t.contestant == "eager" and t.direction == "forward" for t in found) == unique
    for t in found:
        assert 0 < t.p20_ms <= t.median_ms <= t.p80_ms
        if t.contestant == "static":
            assert t.to_static == 1


def test_means_weigh_a_shape_as_often_as_the_network_holds_it():
    def timing(shape, ratio):
        channels, size, stride = shape
        head = ("mobilenetv2_32", 1, channels, size, stride, "nchw", "float32", "cpu", "forward", "eager")
        return benchmark.Timing(*head, 1.0, 1.0, 1.0, ratio, 2 * ratio)

    # (384, 8, 1) stands four times in the network, (960, 4, 1) three times.
    found = benchmark.geometric_means([timing((384, 8, 1), 2.0), timing((960, 4, 1), 0.5)])
    static, grouped = found[("mobilenetv2_32", "nchw", 1, "forward", "eager")]
    assert static == pytest.approx(2 ** (1 / 7))
    assert grouped == pytest.approx(2 * static)


def test_unknown_shapes():
    with pytest.raises(ArgumentError, match="shapes: got 'resnet'; need one of"):
        next(benchmark.benchmark_ops("resnet"))


def test_command_writes_a_table_once(tmp_path, capsys):
    argv = ["bench", "ops", "--shapes", "mobilenetv2_32", "--batches", "1", "--layouts", "nchw", "--seconds", "0.001"]
    path = tmp_path / "ops.csv"
    assert main([*argv, "--csv", str(path)]) == 0
    rows = list(csv.DictReader(path.open()))
    assert {"torch", "cpu", "commit", "median_ms"} <= set(rows[0])
    shown = capsys.readouterr().out
    assert "geometric means" in shown
    before = path.read_bytes()
    assert main([*argv, "--csv", str(path)]) == 2
    assert "--csv: got" in capsys.readouterr().err
    assert path.read_bytes() == before
