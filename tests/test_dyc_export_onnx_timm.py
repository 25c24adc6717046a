"""timm's own exporter takes dynamic networks, too; the layers then mix feature maps."""

import numpy as np
import pytest
import timm
import torch
from timm.utils.onnx import onnx_export
from torch import nn

import dyc

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")


def check(path, network, *shapes):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in shapes:
        images = torch.randn(shape)
        with torch.no_grad():
            want = network(images).numpy()
        found = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        assert np.abs(found - want).max() < 1e-4 * np.abs(want).max(), shape


@pytest.mark.filterwarnings("ignore")
def test_dyc_at_any_size(tmp_path):
    torch.manual_seed(0)
    network = dyc.make_dynamic(timm.create_model("test_resnet", num_classes=7), "dyc", where="blocks").eval()
    dyc.set_mixing(network, "features")
    path = str(tmp_path / "a.onnx")
    onnx_export(network, path, batch_size=2, input_size=(3, 32, 32), dynamic_size=True)
    check(path, network, (1, 3, 32, 32), (3, 3, 32, 32), (2, 3, 40, 56))


def adaptive(pool):
    options = {"padding": 1, "num_kernels": 2, "attention": "eam", "attention_kwargs": {"pool": pool}}
    first, second = (dyc.DynamicConv2d(8, 8, 3, **options) for _ in range(2))  # after which sizes look constant
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), first, nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    dyc.set_mixing(network.eval(), "features")
    return network


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_adaptive_pooling_at_any_size(tmp_path, pool):
    network = adaptive(pool)
    path = str(tmp_path / "a.onnx")
    onnx_export(network, path, batch_size=2, input_size=(3, 32, 32), dynamic_size=True)
    check(path, network, (1, 3, 32, 32), (3, 3, 40, 56), (2, 3, 50, 70))


def resnet():
    network = dyc.make_dynamic(timm.create_model("test_resnet", num_classes=7), "eam", where="blocks").eval()
    dyc.set_mixing(network, "features")
    return network


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: adaptive("avg"), marks=pytest.mark.exhaustive, id="layers"),
        pytest.param(resnet, marks=pytest.mark.grid, id="resnet"),  # torch.export takes a minute
    ],
)
def test_by_torch_export(tmp_path, build):
    network, path = build(), str(tmp_path / "a.onnx")
    # At 32 pixels the last maps of a ResNet have one pixel, which torch.export takes for constant.
    onnx_export(network, path, batch_size=2, input_size=(3, 96, 96), dynamic_size=True, use_dynamo=True)
    check(path, network, (1, 3, 96, 96), (3, 3, 40, 56), (2, 3, 50, 70))
