"""The convolutions over all of their arguments: what hypothesis draws is computed as defined, or refused in one line.

``DYC_HYPOTHESIS=10000 pytest -k properties`` tries as many cases, over all tests of properties, other ones each time.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.property_checks import BACKENDS, USUALLY_AUTO, check, uncompiled
from support.property_convolutions import BATCHES, CHANNELS, calls, scaled
from support.property_settings import cases
from support.property_tensors import DTYPES, LAYOUTS, check_close, draw, exact, magnitude

import ops
from ops import reference


@pytest.fixture(autouse=True, scope="module")
def _uncompiled():
    with uncompiled():
        yield


@cases(0.12)
@given(calls(BACKENDS, ("x", "weight"), kinds=("depthwise",)))
def test_depthwise_conv2d(call):
    tensors = call.tensors({"x": call.shapes()["x"], "weight": (call.batch, call.inputs, *call.kernel)})
    run = partial(ops.depthwise_conv2d, **call.window, backend=call.backend)
    call = replace(call, mixing="kernels")
    exactly = call.backend == "cpp"  # sums in float32, and rounds once
    check(call, run, partial(reference.depthwise_conv2d, **call.window), tensors, 0 if exactly else 4)


@cases(0.06)
@given(calls(USUALLY_AUTO, ("x", "weight")))
def test_per_sample_conv2d(call):
    kernels = (call.batch, call.outputs, call.inputs // call.groups, *call.kernel)
    tensors = call.tensors({"x": call.shapes()["x"], "weight": kernels})
    run = partial(ops.per_sample_conv2d, **call.window, groups=call.groups, backend=call.backend)
    call = replace(call, mixing="kernels")
    check(call, run, partial(reference.conv2d_per_sample, **call.window, groups=call.groups), tensors, 4)


@cases(0.12)
@given(calls(USUALLY_AUTO, ("x", "weight", "attention", "bias")))
def test_dynamic_conv2d(call):
    options = {**call.window, "groups": call.groups}
    run = partial(ops.dynamic_conv2d, **options, mixing=call.mixing, backend=call.backend)
    check(call, run, partial(reference.dynamic_conv2d, **options), call.tensors(call.shapes()), 8)


@cases(0.06)
@given(calls(USUALLY_AUTO, ("x", "weight", "attention", "bias", "inputs", "taps")), st.data())
def test_scaled_conv2d(call, data):
    shapes = call.shapes()
    if data.draw(st.booleans(), "has weights of inputs"):
        shapes["inputs"] = (call.batch, call.inputs)
    if data.draw(st.booleans(), "has weights of taps"):
        shapes["taps"] = (call.batch, *call.kernel)
    options = {**call.window, "groups": call.groups}

    def run(x, weight, attention, bias=None, inputs=None, taps=None):
        attention = ops.KernelAttention(attention, inputs, taps)
        return ops.scaled_conv2d(x, weight, attention, bias, **options, mixing=call.mixing, backend=call.backend)

    def define(x, weight, attention, bias=None, inputs=None, taps=None):
        return scaled(x, weight, attention, bias, inputs, taps, **options)

    tensors = call.tensors(shapes)
    if "taps" in shapes and call.kernel != (1, 1) and call.mixing == "features":
        with pytest.raises(ops.ArgumentError, match=r"mixing: |padding: |x: "):
            run(**tensors)
        return
    check(call, run, define, tensors, 12)


@cases(0.06)
@given(st.data())
def test_mix_kernels(data):
    batch, kernels, outputs = data.draw(BATCHES), data.draw(st.integers(1, 5)), data.draw(CHANNELS)
    rest = data.draw(st.lists(st.integers(1, 4), max_size=3))
    dtype, seed = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(0, 2**20))
    shape = (batch, kernels, outputs) if data.draw(st.booleans()) else (batch, kernels)
    generator = torch.Generator().manual_seed(seed)
    layouts = [data.draw(st.sampled_from([*LAYOUTS])) for _ in range(3)]
    asks = data.draw(st.sets(st.sampled_from([0, 1])))
    tensors = [draw((kernels, outputs, *rest), dtype, layouts[0], generator), draw(shape, dtype, layouts[1], generator)]
    leaves = [
        [f(t).requires_grad_(i in asks) for i, t in enumerate(tensors)] for f in (torch.Tensor.detach, exact, magnitude)
    ]
    y, want, bound = ops.mix_kernels(*leaves[0]), reference.mix_kernels(*leaves[1]), reference.mix_kernels(*leaves[2])
    assert y.dtype == dtype
    check_close("output", y, want.detach(), bound.detach(), 2)
    if asks:
        toward = draw(tuple(y.shape), dtype, layouts[2], generator)
        gradients = [
            torch.autograd.grad(result, [t for t in of if t.requires_grad], g)
            for result, of, g in zip((y, want, bound), leaves, (toward, exact(toward), magnitude(toward)))
        ]
        for found, right, limit in zip(*gradients, strict=True):
            check_close("gradient", found, right, limit, 2)
