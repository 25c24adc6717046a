"""Exported files in OpenVINO: the same outputs as PyTorch's, for any batch and size."""

import numpy as np
import pytest
import timm
import torch

import dyc
from dyc.export import export_onnx, quantize_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")


@pytest.mark.parametrize("form", ["features", "kernels"])
def test_the_same_outputs(tmp_path, form):
    torch.manual_seed(0)
    network = dyc.make_dynamic(timm.create_model("test_resnet", num_classes=7), "dyc", where="layer1").eval()
    dyc.set_temperature(network, 1.0)
    export_onnx(network, tmp_path / "a.onnx", input_size=(3, 32, 32), form=form)
    core = openvino.Core()
    compiled = core.compile_model(tmp_path / "a.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in ((1, 3, 32, 32), (3, 3, 32, 32), (2, 3, 40, 56)):
        images = torch.randn(shape)
        with torch.no_grad():
            want = network(images).numpy()
        assert np.abs(compiled(images.numpy())[0] - want).max() < 1e-4 * np.abs(want).max()
    if form == "features":
        quantize_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx", [torch.randn(16, 3, 32, 32).numpy()])
        images = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            want = network(images).numpy()
        assert (
            np.abs(core.compile_model(tmp_path / "b.onnx", "CPU")(images.numpy())[0] - want).max()
            < 0.1 * np.abs(want).max()
        )
