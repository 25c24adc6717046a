"""Mixing kernels or feature maps: the rule of "auto", both names under torch.compile, in half precision, in a layer."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import dyc
import ops
from ops import reference

MIXINGS = pytest.mark.parametrize("mixing", ["auto", "kernels", "features"])
# C_in, C_out, kernel, groups
FORMS = {"depthwise": (6, 6, 3, 6), "pointwise": (6, 8, 1, 1), "dense": (6, 4, 3, 1), "grouped": (6, 4, 3, 2)}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])


def arguments(form, batch=2, size=8, dtype=torch.float32, requires_grad=False):
    in_channels, out_channels, kernel, groups = form
    tensors = (
        torch.randn(batch, in_channels, size, size),
        torch.randn(4, out_channels, in_channels // groups, kernel, kernel),
        torch.rand(batch, 4, out_channels),
        torch.randn(4, out_channels),
    )
    return tuple(t.to(dtype).requires_grad_(requires_grad) for t in tensors), {"groups": groups, "padding": kernel // 2}


@pytest.mark.parametrize(("mixing", "size"), [("auto", 1), ("auto", 8), ("features", 8)])
@forms
def test_compiled_graphs_serve_every_batch_size(form, mixing, size):
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")

    def call(*tensors, **geometry):
        return ops.dynamic_conv2d(*tensors, mixing=mixing, **geometry)

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 5, 20, 64):
        tensors, geometry = arguments(form, batch, size, requires_grad=True)
        y, wanted = compiled(*tensors, **geometry), call(*tensors, **geometry)
        gradient = torch.randn_like(wanted)
        found = torch.autograd.grad(y, tensors, gradient)
        torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(found, torch.autograd.grad(wanted, tensors, gradient), rtol=1e-4, atol=1e-3)
    # PyTorch traces a plain convolution once for batches below 16 and once for the others.
    assert counter.frame_count <= 2


@layouts
@MIXINGS
@forms
def test_bfloat16_is_as_close_as_its_precision_allows(form, mixing, layout):
    tensors, geometry = arguments(form, dtype=torch.bfloat16)
    x, *others = tensors
    y = ops.dynamic_conv2d(x.contiguous(memory_format=layout), *others, mixing=mixing, **geometry)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=layout)
    wanted = reference.dynamic_conv2d(*tensors, **geometry)
    # Mixed kernels or maps, their sum and the bias are each rounded to 8 bits.
    assert (y - wanted).abs().max() <= 4 * 2**-8 * wanted.abs().max()


@layouts
@forms
@pytest.mark.parametrize("size", [1, 8, 33])  # a single pixel, small maps, and maps large enough to go one by one
@pytest.mark.parametrize("batch", [1, 3])
def test_both_ways_agree_without_gradients(form, batch, size, layout):
    tensors, geometry = arguments(form, batch, size, dtype=torch.float64)
    x, *others = tensors
    x = x.contiguous(memory_format=layout)
    kernels, features = (ops.dynamic_conv2d(x, *others, mixing=m, **geometry) for m in ("kernels", "features"))
    torch.testing.assert_close(kernels, features)
    torch.testing.assert_close(kernels, reference.dynamic_conv2d(*tensors, **geometry))


def test_features_and_a_named_backend_contradict_each_other_where_backends_convolve():
    tensors, geometry = arguments(FORMS["depthwise"])
    with pytest.raises(ops.ArgumentError, match="mixing: got 'features' with backend 'eager'; need 'kernels'"):
        ops.dynamic_conv2d(*tensors, mixing="features", backend="eager", **geometry)
    with ops.use_backend("eager"):  # speaks for calls that leave the choice open; here nothing was left to choose
        y = ops.dynamic_conv2d(*tensors, mixing="features", **geometry)
    torch.testing.assert_close(y, ops.dynamic_conv2d(*tensors, **geometry), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mixing", ["kernels", "features"])
def test_a_layer_passes_its_choice_on(mixing, monkeypatch):
    ways = {"kernels": "by_kernels", "features": "by_features"}
    other = next(way for name, way in ways.items() if name != mixing)

    def fail(*_):
        raise AssertionError(f"{other} was called")

    monkeypatch.setattr(f"ops.functional.{other}", fail)
    layer = dyc.DynamicConv2d(8, 16, 3, padding=1, mixing=mixing)
    assert layer(torch.randn(2, 8, 5, 5)).shape == (2, 16, 5, 5)
