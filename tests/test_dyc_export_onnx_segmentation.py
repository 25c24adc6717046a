"""Networks that classify every pixel as ONNX files and as programs."""

import numpy as np
import pytest
import torch
from fixtures.models import marked
from torch import nn

import dyc
from dyc.export import export_onnx
from dyc.export.programs import save_pt2
from dyc.segmentation import create_segmentation
from dyc.segmentation.backbone import whole

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def network(head, backbone="test_resnet", where="blocks", output_stride=8):
    net = create_segmentation(backbone, 5, head=head, output_stride=output_stride, auxiliary=True)
    if where:
        dyc.make_dynamic(whole(net.backbone), "dyc", where=where)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.7, 1.4)
    return net.eval()


def exported(net, path, form, **options):
    """Export a network, compare it at a size that the export has not seen, and return the report."""
    report = export_onnx(net, path, input_size=(3, 40, 56), form=form, **options)
    assert report.any_size
    assert report.difference < 1e-5
    assert {batch for batch, _ in report.differences} == {1, 3, 8}
    images = torch.randn(2, 3, 33, 70)
    (found,) = ort.InferenceSession(path).run(None, {"images": images.numpy()})
    with torch.no_grad():
        want = net(images)
    assert found.shape == (2, 5, 33, 70)  # those of the main head, for every pixel
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    return report


def test_the_main_head_at_the_size_of_the_images(tmp_path):
    steps, path = [], tmp_path / "a.onnx"
    report = exported(network("deeplabv3"), path, "features", progress=steps.append)
    assert "trace with symbols for all sizes" not in steps  # which takes five times as long
    assert {layer.form for layer in report.layers} == {"features"}
    graph = onnx.load(path).graph
    assert [value.name for value in graph.output] == ["logits"]
    assert not [node for node in graph.node if node.name.startswith("aux_classifier")]  # it is only trained with
    shape = [d.dim_param or d.dim_value for d in graph.output[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 5, "logits_height", "logits_width"]
    assert len([node for node in graph.node if node.op_type == "Resize"]) == 2


@pytest.mark.exhaustive  # torch.export takes seconds for each layer
def test_programs(tmp_path):
    net = network("deeplabv3", where="layer1")
    assert save_pt2(net, tmp_path / "a.pt2", image=(3, 40, 56)).any_size
    images = torch.randn(2, 3, 33, 70)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(tmp_path / "a.pt2").module()(images), net(images))


BACKBONES = [  # every backbone, head and form
    ("dyc_mobilenetv2_035", None, "fcn", "features"),
    ("dynet_resnet18", None, "deeplabv3", "features"),
    ("test_resnet", "blocks", "fcn", "kernels"),
]
OTHERS = [  # every pair of them
    ("dyc_mobilenetv2_035", None, "deeplabv3", "kernels"),
    ("dynet_resnet18", None, "fcn", "kernels"),
    ("test_resnet", "blocks", "deeplabv3", "features"),
]


@pytest.mark.parametrize(("backbone", "where", "head", "form"), marked([*BACKBONES, *OTHERS], (), BACKBONES))
def test_all_backbones(tmp_path, backbone, where, head, form):
    report = exported(network(head, backbone, where, output_stride=16), tmp_path / "a.onnx", form)
    assert {layer.form for layer in report.layers} == {form}


@pytest.mark.grid
@pytest.mark.parametrize("backbone", ["dyc_mobilenetv2_035", "dynet_resnet18"])
def test_programs_take_images_of_any_size(tmp_path, backbone):
    assert save_pt2(network("fcn", backbone, None, 16), tmp_path / "a.pt2", image=(3, 40, 56)).any_size
