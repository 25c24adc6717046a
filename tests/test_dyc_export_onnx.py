"""Networks as ONNX files: every family, in both forms, in ONNX Runtime."""

import json
from itertools import product

import pytest
import timm
import torch
from support.lively_network import lively
from torch import nn

import dyc
from dyc.export import export_onnx
from dyc.selective import compact
from ops import ArgumentError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

KINDS = ("dy", "dyc", "eam", "condconv", "odconv")


def weights_computed(path):
    """Return the convolutions of a file whose kernels are not constants."""
    graph = onnx.load(path).graph
    constants = {value.name for value in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in constants]


def layer(kind, geometry, bias, **attention_kwargs):
    conv = dyc.DynamicConv2d(
        *geometry[:3],
        **geometry[3],
        bias=bias,
        num_kernels=3,
        attention=kind,
        attention_kwargs=attention_kwargs or None,
    )
    if bias:
        nn.init.normal_(conv.bias)
    out = geometry[1]
    return lively(nn.Sequential(nn.Conv2d(3, geometry[0], 1), nn.ReLU(), conv, nn.BatchNorm2d(out), nn.ReLU()))


GEOMETRIES = {
    "pointwise": (8, 12, 1, {}),
    "pointwise strided": (8, 12, 1, {"stride": 2}),
    "dense": (6, 8, 3, {"padding": 1}),
    "depthwise": (8, 8, 3, {"padding": (2, 1), "stride": (2, 1), "groups": 8, "dilation": (2, 1)}),
    "grouped": (8, 12, (3, 1), {"groups": 4, "padding": (1, 0)}),
}


LAYERS = [
    ("dyc", "depthwise"),
    ("dyc", "grouped"),
    ("dy", "pointwise"),
    ("eam", "dense"),
    ("condconv", "pointwise strided"),
    ("odconv", "grouped"),
    ("odconv", "depthwise"),
]


@pytest.mark.parametrize("form", ["kernels", "features"])
@pytest.mark.parametrize(("kind", "geometry"), LAYERS)
def test_layers(tmp_path, kind, geometry, form):
    network = layer(kind, GEOMETRIES[geometry], bias=True)
    report = export_onnx(network, tmp_path / "a.onnx", input_size=(3, 11, 11), form=form)
    assert report.difference < 1e-5
    assert {batch for batch, _ in report.differences} == {1, 3, 8}
    assert len({size for _, size in report.differences}) == 2
    assert [each.form for each in report.layers] == [form]
    assert not weights_computed(tmp_path / "a.onnx")
    ops = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert "BatchNormalization" not in ops  # it is in the bank
    assert ("MatMul" in ops) == (form == "kernels" or kind == "eam")


def all_layers():
    """Return each kind with each geometry, bias and form; as exhaustive, every other kind and geometry once."""
    for (i, kind), (j, geometry) in product(enumerate(KINDS), enumerate(GEOMETRIES)):
        for bias, form in product((True, False), ("kernels", "features")):
            one = (bias, form) == ((i + j) // 2 % 2 == 0, ("kernels", "features")[(i + j) % 2])
            mark = pytest.mark.exhaustive if one and (kind, geometry) not in LAYERS else pytest.mark.grid
            yield pytest.param(kind, geometry, bias, form, marks=mark)


@pytest.mark.parametrize(("kind", "geometry", "bias", "form"), list(all_layers()))
def test_all_layers(tmp_path, kind, geometry, bias, form):
    network = layer(kind, GEOMETRIES[geometry], bias)
    assert export_onnx(network, tmp_path / "a.onnx", input_size=(3, 11, 11), form=form).difference < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"select": "cgr"},
        {"select": "cgr_max", "channels": 3},
        {"select": "every", "pool": "max"},
        {"select": "quarter", "normalizer": "sigmoid", "pool_size": 4},
    ],
)
def test_selections_and_poolings_are_exact_at_any_size(tmp_path, options):
    network = layer("eam", GEOMETRIES["pointwise"], False, **options)
    assert export_onnx(network, tmp_path / "a.onnx", input_size=(3, 3, 3)).difference < 1e-5


def test_a_branch_of_the_user_is_traced(tmp_path):
    class Edge(nn.Module):
        def __init__(self, in_channels, out_channels, num_kernels, *, temperature):
            super().__init__()
            self.fc = nn.Linear(in_channels, num_kernels * out_channels)
            self.shape = (num_kernels, out_channels)

        def forward(self, x):
            return torch.softmax(self.fc(x.amax((2, 3))).unflatten(1, self.shape), 1)

    network = nn.Sequential(dyc.DynamicConv2d(3, 5, 3, attention=Edge, num_kernels=2), nn.ReLU())
    assert export_onnx(network, tmp_path / "a.onnx", input_size=(3, 9, 9), form="features").difference < 1e-5


def selective():
    network = dyc.make_selective(timm.create_model("test_resnet", num_classes=7))
    for i, (_, each) in enumerate(dyc.iter_selective(network)):
        each.mask[1::3] = False
        if each.shift is not None:
            each.mask[1] = True
            each.pointers[1] = 0
            with torch.no_grad():
                each.shift[1] = torch.tensor([0.6, -1.3]) * (i + 1)
        each.refresh()
    return network


NETWORKS = {
    "dyc": lambda: timm.create_model("dyc_mobilenetv2_cifar", num_classes=7),
    "make_dynamic": lambda: dyc.make_dynamic(timm.create_model("test_resnet", num_classes=7), "dyc", where="blocks"),
    "selective": selective,
    "compact": lambda: compact(selective(), input_size=(3, 32, 32)),
}


SLOWER = ("dyc", "selective")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in SLOWER)) for name in NETWORKS]
)
def test_networks(tmp_path, name):
    network = lively(NETWORKS[name]())
    path = tmp_path / "network.onnx"
    preparation = {"input_size": [3, 32, 32], "class_names": ["one"]}
    report = export_onnx(network, path, input_size=(3, 32, 32), form="features", preparation=preparation)
    assert report.difference < 1e-5
    assert report.any_size
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["images", "logits"]
    dims = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert dims == [["batch", 3, "height", "width"], ["batch", 7]]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["dyc.preparation"]) == preparation
    assert set(json.loads(properties["dyc.forms"])) == {layer.layer for layer in report.layers}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    modules = dict(network.named_modules())
    for node in model.graph.node:
        path_of_module = node.name.split("/")[0].rsplit(".", 1)[0]
        assert not node.domain
        assert node.name.split("/")[0] in modules or path_of_module in modules or "/" not in node.name, node.name
    assert not weights_computed(path)
    assert b"site-packages" not in path.read_bytes()  # no paths of the machine that exported it


def test_nodes_are_named_after_layers(tmp_path):
    network = dyc.make_dynamic(timm.create_model("test_resnet"), "dyc", where="blocks")
    export_onnx(network, tmp_path / "a.onnx", input_size=(3, 32, 32), form="features")
    names = {node.name: node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert names["layer1.0.conv1/attention/fc1"] == "Conv"
    assert names["layer1.0.conv1/attention/softmax"] == "Softmax"
    assert names["layer1.0.conv1/kernel0"] == "Conv"
    assert names["fc"] == "Gemm"


def test_a_difference_names_the_layer_and_writes_no_file(tmp_path, monkeypatch):
    from dyc.export.onnx import forms

    first, second = layer("dy", GEOMETRIES["dense"], True), dyc.DynamicConv2d(8, 4, 1)
    network = lively(nn.Sequential(first, second, nn.BatchNorm2d(4), nn.ReLU()))
    right = forms.Bank.fold
    wrong = {4: 1.01}  # of the layer with four channels
    monkeypatch.setattr(forms.Bank, "fold", lambda bank, s, shift: right(bank, s * wrong.get(len(s), 1), shift))
    with pytest.raises(
        ArgumentError, match=r"at batch 1 and 9x9 pixels outputs differ by .*first layer that differs is 2;"
    ):
        export_onnx(network, tmp_path / "a.onnx", input_size=(3, 9, 9))
    assert not list(tmp_path.iterdir())


class OneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = dyc.DynamicConv2d(3, 4, 3, padding=1), nn.Linear(4 * 36, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


def test_a_network_of_one_size_keeps_its_batch_free(tmp_path):
    report = export_onnx(OneSize().eval(), tmp_path / "a.onnx", input_size=(3, 6, 6))
    assert not report.any_size
    assert "one size alone" in str(report)
    shape = onnx.load(tmp_path / "a.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", 3, 6, 6]
    with pytest.raises(ArgumentError, match="input_size: got 3x7x7; need a size that the network takes"):
        export_onnx(OneSize().eval(), tmp_path / "b.onnx", input_size=(3, 7, 7))


class Sizes(nn.Module):
    """A segmentation network, whose output follows the size of its images."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = dyc.DynamicConv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 5, 1)

    def forward(self, x):
        y = self.head(torch.relu_(self.conv(x)))
        return {"out": nn.functional.interpolate(y, size=x.shape[2:], mode="bilinear")}


def test_sizes_that_a_network_computes_with_are_followed(tmp_path):
    report = export_onnx(Sizes().eval(), tmp_path / "a.onnx", input_size=(3, 12, 12))
    assert report.any_size
    output = onnx.load(tmp_path / "a.onnx").graph.output[0]
    assert output.name == "out"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "feature"}, "form: got 'feature' .did you mean 'features'"),
        ({"batch": 0}, "batch: got 0"),
        ({"path": "a.pt"}, "need a file name that ends with .onnx"),
        ({"input_size": (1, 32, 32)}, "input_size: got 1x32x32; need a size that the network takes"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    options = {"input_size": (3, 32, 32), **arguments}
    with pytest.raises(ArgumentError, match=message):
        export_onnx(timm.create_model("test_resnet"), tmp_path / options.pop("path", "a.onnx"), **options)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(monkeypatch, tmp_path):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    with pytest.raises(ArgumentError, match=r"onnx needs onnxscript; install with: pip install 'dyc\[export\]'"):
        export_onnx(timm.create_model("test_resnet"), tmp_path / "a.onnx", input_size=(3, 32, 32))
