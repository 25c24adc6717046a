"""Registered networks as ONNX files: one of each file and kind, and with the grids every one."""

import pytest
import timm
import torch
from fixtures.models import marked, one_of_each_part
from support.lively_network import lively

import dyc
from dyc.export import export_onnx
from dyc.models import dynet_shuffle, model_names

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

FAST = ("dyc_resnet10",)

SHALLOW = {
    "condensenet182": {"layers": (2, 2, 2)},
    "densenet40": {"layers": (2, 2, 2)},
    "densenet100": {"layers": (2, 2, 2)},
    "preresnet164": {"layers": (2, 2, 2)},
    "resnext29_8x64d": {"layers": (1, 1, 1), "planes": (16, 32, 64)},
}
"""Arguments that leave out blocks that are like others, as a network of 182 layers takes most of a minute."""


def check(name, path, **arguments):
    torch.manual_seed(0)
    # Not trained and at 1, some multiply the error of float32 by a hundred, in PyTorch too.
    network = lively(timm.create_model(name, num_classes=10, **arguments), temperature=30.0)
    report = export_onnx(network, path, input_size=(network.default_cfg["input_size"][0], 32, 32))
    assert report.difference < 1e-4
    assert report.any_size
    assert {layer.layer for layer in report.layers} == {path for path, _ in dyc.iter_dynamic(network)}


@pytest.mark.parametrize("name", marked([*FAST, *one_of_each_part()], FAST, one_of_each_part()))
def test_a_registered_network(tmp_path, name, monkeypatch):
    monkeypatch.setattr(dynet_shuffle, "BLOCKS", (1, 1, 2))  # all units but one halve the resolution
    check(name, tmp_path / "a.onnx", **SHALLOW.get(name.removeprefix("select_"), {}))


@pytest.mark.grid
@pytest.mark.parametrize("name", sorted(model_names()))
def test_every_registered_network_with_all_blocks(tmp_path, name):
    check(name, tmp_path / "a.onnx")
