"""Batches of no samples and images without a batch dimension, as ``nn.Conv2d`` takes them."""

import copy

import pytest
import torch

import dyc
from dyc.layers import MaskedConv2d


def layer_of(state):
    layer = dyc.SelectiveConv2d(8, 6, 3, padding=1, bias=True)
    layer.conv.mask[2] = state == "open"
    if state == "reused":
        layer.conv.mask[2] = True
        layer.pointers[2] = 5
        layer.shift.data[2] = torch.tensor([0.5, -1.25])
    layer.refresh()
    return layer


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("state", ["open", "closed", "reused"])
def test_no_samples(state, backend):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            layer = layer_of(state).to(dtype=dtype, memory_format=memory_format)
            layer.backend = backend
            x = torch.empty(0, 8, 5, 4, dtype=dtype, memory_format=memory_format, requires_grad=True)
            y = layer(x)
            assert (y.shape, y.dtype) == ((0, 6, 5, 4), dtype)
            y.sum().backward()
            assert x.grad.shape == x.shape
            assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())
            assert layer.eval()(x).shape == y.shape


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("state", ["open", "closed", "reused"])
def test_one_image_is_a_batch_of_one_without_its_dimension(state, training):
    layer, x = layer_of(state).train(training), torch.randn(8, 5, 4)
    want = copy.deepcopy(layer)(x.unsqueeze(0)).squeeze(0)
    torch.testing.assert_close(layer(x), want, rtol=0, atol=0)
    torch.testing.assert_close(torch.jit.script(layer.eval())(x), layer(x))


@pytest.mark.parametrize("closed", [False, True])
def test_a_masked_convolution(closed):
    conv = MaskedConv2d(8, 6, 3)
    conv.mask[2] = not closed
    conv.refresh()
    x = torch.randn(2, 8, 5, 4)
    torch.testing.assert_close(conv(x[1]), conv(x)[1])
    conv(x[:0]).sum().backward()
    assert all(not p.grad.any() for p in conv.parameters())


@pytest.mark.parametrize("state", ["closed", "reused"])
def test_export_of_any_batch_size(state):
    layer = layer_of(state).eval()
    batch = {0: torch.export.Dim("batch", min=0)}
    exported = torch.export.export(layer, (torch.randn(4, 8, 5, 4),), dynamic_shapes=(batch,)).module()
    for samples in (0, 1, 5):
        x = torch.randn(samples, 8, 5, 4)
        torch.testing.assert_close(exported(x), layer(x))
