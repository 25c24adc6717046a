"""Trained models in use: image sizes, memory format, export, compilation, files of weights."""

import pytest
import timm
import torch
from fixtures.models import FEW, marked
from timm.layers import set_scriptable
from timm.models._hub import save_for_hf
from torch import nn

import dyc


@pytest.mark.parametrize(("extra_rows", "extra_columns"), [(0, 16), (1, 15)], ids=["not_square", "odd"])
def test_other_image_sizes(family, images, extra_rows, extra_columns):
    model = timm.create_model(family).eval()
    height, width = images(family).shape[2:]
    x = torch.randn(2, 3, height + extra_rows, width + extra_columns)
    assert model(x).shape == (2, model.num_classes)
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))


def test_channels_last_stays_channels_last(family, images):
    model = timm.create_model(family).eval()
    x = images(family)
    want = model(x)
    model = model.to(memory_format=torch.channels_last)
    wrong = []

    def check(module, _, output):
        if not output.is_contiguous(memory_format=torch.channels_last):
            wrong.append(module)

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | dyc.DynamicConv2d)]
    for layer in layers:
        layer.register_forward_hook(check)
    y = model(x.contiguous(memory_format=torch.channels_last))
    assert wrong == []
    torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-5 * want.abs().max().item())


# Of each mechanism one; tests/test_dyc_export_onnx_registry.py exports one of each family, to compare it as ONNX.
MECHANISMS = ("dyc_resnet10", "eam_mobilenetv1_025", "fix_shuffle_100")


@pytest.mark.parametrize("name", marked([*FEW, *MECHANISMS], FEW, MECHANISMS))
def test_export(name, images):
    model = timm.create_model(name).eval()
    x = images(name)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for some in (x, x[:1], x[:0]):
        torch.testing.assert_close(exported(some), model(some))


@pytest.mark.parametrize("attention", ["dy", "dyc", "condconv", "eam"])
@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (12, 4)], ids=["depthwise", "grouped"])
def test_a_layer_in_torchscript(attention, channels, groups):
    layer = dyc.DynamicConv2d(8, channels, 3, 2, (1, 0), 2, groups, attention=attention, temperature=1.0).eval()
    x = torch.randn(3, 8, 9, 11)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


@pytest.mark.parametrize("attention", ["dy", "condconv"])
def test_padding_by_the_size_of_the_input_in_torchscript(attention):
    layer = dyc.DynamicConv2dSame(8, 8, 3, 2, groups=8, attention=attention, temperature=1.0).eval()
    script = torch.jit.script(layer)
    for size in ((15, 16), (16, 9), (1, 2)):
        x = torch.randn(2, 8, *size)
        torch.testing.assert_close(script(x), layer(x))


@pytest.mark.parametrize("select", ["rcr", "cgr", "cgr_max", "every", "quarter"])
@pytest.mark.parametrize("rest", [{}, {"pool": "max"}, {"normalizer": "sigmoid"}], ids=str)
def test_each_selection_in_torchscript(select, rest):
    layer = dyc.DynamicConv2d(10, 8, 3, attention="eam", attention_kwargs={"select": select, **rest}).eval()
    x = torch.randn(2, 10, 9, 8)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


STATIC = [pytest.param(name, marks=pytest.mark.exhaustive) for name in ("densenet40", "preresnet164")]


@pytest.mark.parametrize("name", ["dy_mobilenetv3_small", "dyc_mobilenetv2_cifar", "eam_mobilenetv1_025", *STATIC])
def test_torchscript(name, images):
    with set_scriptable(True):
        model = timm.create_model(name).eval()
    x = images(name)
    torch.testing.assert_close(torch.jit.script(model)(x), model(x))


def test_compiles_without_a_graph_break(images):
    model, x = timm.create_model("dyc_mobilenetv2_cifar").eval(), images("dyc_mobilenetv2_cifar")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_a_folder_keeps_the_model(family, images, tmp_path):
    model = timm.create_model(family, num_classes=4).eval()
    dyc.set_temperature(model, 2.5)
    save_for_hf(model, tmp_path, model_args={"num_classes": 4})
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = images(family)
    assert torch.equal(loaded(x), model(x))
    assert loaded.default_cfg["architecture"] == family


def test_missing_pretrained_weights_are_an_error():
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model("dyc_mobilenetv2_cifar", pretrained=True)
