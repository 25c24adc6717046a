"""Registered networks as ONNX files: one of each family and kind, or with DYC_EXPORT=all every one of them."""

import os

import pytest
import timm
import torch

import dyc
from dyc.export import export_onnx
from dyc.models import model_names

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def family(name):
    """The file that defines a network, and its kind, which its name begins with."""
    return timm.model_entrypoint(name).__module__, name.split("_")[0]


EVERY = sorted(model_names())
ONE_OF_EACH = sorted({family(name): name for name in reversed(EVERY)}.values())
FAST = ("dyc_resnet10",)


def exported(name, path):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=10).eval()
    return export_onnx(network, path, input_size=(network.default_cfg["input_size"][0], 32, 32))


@pytest.mark.parametrize("name", FAST)
def test_a_registered_network(tmp_path, name):
    assert exported(name, tmp_path / "a.onnx").difference < 1e-4


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EVERY if os.environ.get("DYC_EXPORT") == "all" else ONE_OF_EACH)
def test_registered_networks(tmp_path, name):
    report = exported(name, tmp_path / "a.onnx")
    assert report.difference < 1e-4
    assert report.any_size
    network = timm.create_model(name)
    assert {layer.layer for layer in report.layers} == {path for path, _ in dyc.iter_dynamic(network)}
