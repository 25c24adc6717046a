"""Batches of no samples and images without a batch dimension, as ``nn.Conv2d`` takes them."""

import copy

import pytest
import timm
import torch
from torch import nn

import dyc
from dyc.layers import attention_kinds
from dyc.layers.dynamic_conv import LAYER_MIXINGS

SHAPES = {"depthwise": (8, 8), "grouped": (12, 4), "dense": (6, 1)}  # output channels and groups for 8 channels


def layer_of(kind, shape, **options):
    channels, groups = SHAPES[shape]
    return dyc.DynamicConv2d(8, channels, 3, 2, 1, groups=groups, attention=kind, temperature=1.0, **options)


def gradients_are_zero(module):
    found = {name: parameter.grad for name, parameter in module.named_parameters()}
    return all(gradient is not None and not gradient.any() for gradient in found.values())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", attention_kinds())
def test_no_samples(kind, shape):
    layer = layer_of(kind, shape)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            own = copy.deepcopy(layer).to(dtype=dtype, memory_format=memory_format)
            x = torch.empty(0, 8, 9, 7, dtype=dtype, memory_format=memory_format, requires_grad=True)
            y = own(x)
            assert (y.shape, y.dtype) == ((0, layer.out_channels, 5, 4), dtype)
            y.sum().backward()
            assert x.grad.shape == x.shape
            assert gradients_are_zero(own)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer.eval()(x.detach().float()).shape == y.shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", attention_kinds())
def test_one_image_is_a_batch_of_one_without_its_dimension(kind, shape):
    layer, x = layer_of(kind, shape), torch.randn(8, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer(x.unsqueeze(0)).squeeze(0), rtol=0, atol=0)


@pytest.mark.parametrize("mixing", LAYER_MIXINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_mixing(mixing, shape):
    layer = layer_of("dyc", shape, mixing=mixing)
    y = layer(torch.randn(0, 8, 9, 7))
    assert y.shape == (0, layer.out_channels, 5, 4)
    y.sum().backward()
    assert gradients_are_zero(layer)
    assert layer(torch.randn(8, 9, 7)).shape == y.shape[1:]


@pytest.mark.parametrize("per_channel", [False, True])
def test_attention_that_is_given(per_channel):
    layer = layer_of(None, "grouped")
    x, attention = torch.randn(3, 8, 9, 7), torch.rand(3, 4, 12) if per_channel else torch.rand(3, 4)
    want = layer(x, attention)
    torch.testing.assert_close(layer(x[1], attention[1]), want[1])
    layer(x[:0], attention[:0]).sum().backward()
    assert gradients_are_zero(layer)


def test_a_block_of_given_attention():
    block, conv = dyc.BlockCoefficients(8, (12,), 4, hidden=5), layer_of(None, "grouped")
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(conv(x[1], *block(x[1])), conv(x, *block(x))[1])
    conv(x[:0], *block(x[:0])).sum().backward()
    assert gradients_are_zero(block)
    assert gradients_are_zero(conv)


@pytest.mark.parametrize("groups", [1, 8])
def test_padding_by_the_size_of_the_input(groups):
    layer = dyc.DynamicConv2dSame(8, 8, 3, 2, groups=groups, attention="dyc")
    x = torch.randn(2, 8, 9, 7)
    y = layer(x[:0])
    assert y.shape == (0, 8, 5, 4)
    y.sum().backward()
    assert gradients_are_zero(layer)
    torch.testing.assert_close(layer(x[1]), layer(x)[1])


@pytest.mark.parametrize("kind", ["dy", "dyc"])
def test_torchscript(kind):
    layer = layer_of(kind, "depthwise").eval()
    x = torch.randn(2, 8, 9, 7)
    script = torch.jit.script(layer)
    torch.testing.assert_close(script(x[1]), layer(x)[1])
    assert script(x[:0]).shape == layer(x[:0]).shape


@pytest.mark.parametrize("kind", ["dyc", "odconv"])
@pytest.mark.parametrize("x", [torch.randn(8, 9, 7), torch.randn(0, 8, 9, 7)], ids=["image", "no_samples"])
def test_export(kind, x):
    layer = layer_of(kind, "depthwise").eval()
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["dyc", "odconv"])
def test_export_of_any_batch_size(kind, shape):
    layer = layer_of(kind, shape).eval()
    batch = {0: torch.export.Dim("batch", min=0)}
    exported = torch.export.export(layer, (torch.randn(4, 8, 9, 7),), dynamic_shapes=(batch,)).module()
    for samples in (0, 1, 2, 5):
        x = torch.randn(samples, 8, 9, 7)
        torch.testing.assert_close(exported(x), layer(x))


def test_as_a_head_of_a_detector_that_found_nothing():
    static = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    dynamic = dyc.make_dynamic(copy.deepcopy(static), "dyc", where=".*")
    assert [type(layer) for layer in dynamic] == [dyc.DynamicConv2d, nn.ReLU, dyc.DynamicConv2d]
    x = torch.randn(0, 8, 14, 14)
    assert dynamic(x).shape == static(x).shape
    dynamic(x).sum().backward()
    assert gradients_are_zero(dynamic)


@pytest.mark.parametrize("name", ["dyc_mobilenetv2_cifar", "select_densenet40"])
def test_networks_keep_the_statistics_of_their_norms(name):
    network = timm.create_model(name)
    before = {key: value.clone() for key, value in network.named_buffers() if "running" in key}
    y = network(torch.randn(0, 3, 32, 32))
    assert y.shape == (0, network.num_classes)
    y.sum().backward()
    assert gradients_are_zero(network)
    after = dict(network.named_buffers())
    assert before
    assert all(torch.equal(value, after[key]) for key, value in before.items())
