"""Exported networks in 8-bit integers: what is quantised, what is not, and how far the outputs are."""

import json
from itertools import product

import numpy as np
import pytest
import timm
import torch
from fixtures.models import marked
from torch import nn

import dyc
from dyc.export import export_onnx, quantize_onnx
from dyc.models import dynet_mobile
from ops import ArgumentError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")


class Edge(nn.Module):
    """A branch of the user, which is traced."""

    def __init__(self, in_channels, out_channels, num_kernels, *, temperature):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(in_channels, 6, 1), nn.Linear(6, num_kernels * out_channels)
        self.shape = (num_kernels, out_channels)

    def forward(self, x):
        return torch.softmax(self.fc(torch.relu(self.conv(x)).amax((2, 3))).unflatten(1, self.shape), 1)


def lively(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
        if isinstance(getattr(module, "temperature", None), torch.Tensor):
            module.temperature.fill_(1.0)
    return network.eval()


def network(attention):
    conv = dyc.DynamicConv2d(8, 8, 3, padding=1, groups=8, attention=attention, num_kernels=3)
    last = dyc.DynamicConv2d(8, 12, 1, attention=attention, num_kernels=3)
    parts = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), conv, nn.BatchNorm2d(8), nn.ReLU(), last]
    return lively(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)))


def batches(count=2, size=16):
    generator = np.random.default_rng(0)
    return [generator.standard_normal((32, 3, size, size), np.float32) for _ in range(count)]


def run(path, images):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]


def split(path):
    """Return the nodes with weights of a file that are quantised, and those that are not, by name."""
    nodes = onnx.load(path).graph.node
    integers = {out: node for node in nodes if node.op_type == "DequantizeLinear" for out in node.output}
    layers = [node for node in nodes if node.op_type in ("Conv", "Gemm", "MatMul")]
    quantised = {node.name for node in layers if node.input[1] in integers}
    # Whether the result of a layer is rounded to integers, too.
    rounded = {value for node in nodes if node.op_type == "QuantizeLinear" for value in node.input[:1]}
    for node in layers:
        assert (node.output[0] in rounded) <= (node.name in quantised), node.name
    return quantised, {node.name for node in layers} - quantised


CASES = product(("dyc", "dy", "eam", "odconv", Edge), ("features", "kernels"))
FAST = [("dyc", "features"), ("odconv", "kernels"), (Edge, "features")]
SLOW = [("dy", "kernels"), ("eam", "features")]  # of the others, whose attentions are not among those above


@pytest.mark.parametrize(("attention", "form"), marked(CASES, FAST, SLOW))
def test_the_attention_stays_in_float32(tmp_path, attention, form):
    single, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(network(attention), single, input_size=(3, 16, 16), form=form)
    report = quantize_onnx(single, path, batches())
    quantised, kept = split(path)
    kernels = {name for name in quantised | kept if "/kernel" in name and "/attention" not in name}
    assert quantised == {"0", "9"} | {name for name in kernels if form == "features"}
    assert any("attention" in name for name in kept)
    assert (report.quantised, report.images) == (len(quantised), 64)
    for images in (*batches(1), batches(1)[0][:1], batches(1)[0][:3], batches(1, 21)[0][:2]):
        want, got = run(single, images), run(path, images)
        assert np.abs(got - want).max() < 0.06 * np.abs(want).max()
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert set(properties) == {"dyc.version", "dyc.architecture", "dyc.forms", "dyc.attention", "dyc.int8"}
    assert json.loads(properties["dyc.int8"]) == {"images": 64, "weight_bits": 7}
    assert ort.InferenceSession(path).get_inputs()[0].shape == ["batch", 3, "height", "width"]


def test_weights_have_a_scale_for_each_channel_and_seven_bits(tmp_path):
    single, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(network("dyc"), single, input_size=(3, 16, 16), form="features")
    quantize_onnx(single, path, batches())
    graph = onnx.load(path).graph
    values = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    stem = made[next(node for node in graph.node if node.name == "0").input[1]]
    integers, scales, zeros = (values[name] for name in stem.input)
    assert integers.dtype == np.int8
    assert np.abs(integers).max() <= 64
    assert scales.shape == (8,)
    assert not zeros.any()


def test_a_few_images_of_huge_activations_do_not_decide(tmp_path):
    single, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(network("dy"), single, input_size=(3, 16, 16), form="features")
    usual = batches(5)
    quantize_onnx(single, path, [*usual[:2], 1000 * usual[2], *usual[3:]])
    want, got = run(single, usual[0]), run(path, usual[0])
    assert np.abs(got - want).max() < 0.06 * np.abs(want).max()


@pytest.mark.exhaustive
def test_the_coefficients_of_blocks_stay_in_float32(tmp_path, monkeypatch):
    stages = [(expansion, width, 1, stride) for expansion, width, _, stride in dynet_mobile.STAGES]
    monkeypatch.setattr(dynet_mobile, "STAGES", stages)  # one block of each, as all are alike
    single, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(lively(timm.create_model("dynet_mobile_100")), single, input_size=(3, 32, 32), form="features")
    quantize_onnx(single, path, batches(1, 32))
    quantised, kept = split(path)
    assert kept
    assert all("coefficients" in name or "attention" in name for name in kept)
    assert len(quantised) >= 6 * 3 * len(stages)


@pytest.mark.parametrize("kind", ["twice", "foreign", "no images"])
def test_what_cannot_be_quantised(tmp_path, kind):
    single, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), single, input_size=(3, 8, 8))
    if kind == "no images":
        with pytest.raises(ArgumentError, match="batches: got no images"):
            quantize_onnx(single, path, [])
        assert not path.exists()
        return
    if kind == "twice":
        quantize_onnx(single, path, batches(1, 8))
        source, message = path, "which is quantised; need a file in single precision"
    else:
        model = onnx.load(single)
        del model.metadata_props[:]
        source, message = tmp_path / "foreign.onnx", "which `dyc export` has not written"
        onnx.save(model, source)
    with pytest.raises(ArgumentError, match=message):
        quantize_onnx(source, tmp_path / "again.onnx", batches(1, 8))
