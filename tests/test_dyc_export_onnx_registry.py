"""Registered networks as ONNX files: one of each family and kind, or with DYC_EXPORT=all every one, and whole."""

import os

import pytest
import timm
import torch

import dyc
from dyc.export import export_onnx
from dyc.models import dynet_shuffle, model_names

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def family(name):
    """The file that defines a network, and its kind, which its name begins with."""
    return timm.model_entrypoint(name).__module__, name.split("_")[0]


WHOLE = os.environ.get("DYC_EXPORT") == "all"
EVERY = sorted(model_names())
ONE_OF_EACH = sorted({family(name): name for name in reversed(EVERY)}.values())
FAST = ("dyc_resnet10",)

SHALLOW = {
    "condensenet182": {"layers": (2, 2, 2)},
    "densenet100": {"layers": (2, 2, 2)},
    "preresnet164": {"layers": (2, 2, 2)},
    "resnext29_8x64d": {"layers": (1, 1, 1), "planes": (16, 32, 64)},
}
"""Arguments that leave out blocks that are like others, as a network of 182 layers takes most of a minute."""


def exported(name, path):
    torch.manual_seed(0)
    fewer = {} if WHOLE else SHALLOW.get(name.removeprefix("select_"), {})
    network = timm.create_model(name, num_classes=10, **fewer).eval()
    report = export_onnx(network, path, input_size=(network.default_cfg["input_size"][0], 32, 32))
    return network, report


@pytest.mark.parametrize("name", FAST)
def test_a_registered_network(tmp_path, name):
    assert exported(name, tmp_path / "a.onnx")[1].difference < 1e-4


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EVERY if WHOLE else ONE_OF_EACH)
def test_registered_networks(tmp_path, name, monkeypatch):
    if not WHOLE:
        monkeypatch.setattr(dynet_shuffle, "BLOCKS", (1, 1, 2))  # all units but one halve the resolution
    network, report = exported(name, tmp_path / "a.onnx")
    assert report.difference < 1e-4
    assert report.any_size
    assert {layer.layer for layer in report.layers} == {path for path, _ in dyc.iter_dynamic(network)}
