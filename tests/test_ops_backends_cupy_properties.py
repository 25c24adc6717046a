"""The CUDA kernels' arithmetic over all arguments of a depthwise convolution, run by support/cuda_on_cpu.h."""

import ctypes

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support.cuda_emulator import Emulator, build
from support.property_convolutions import calls
from support.property_settings import cases
from support.property_tensors import check_close, exact, magnitude

from ops import reference
from ops.backends.cpp.build import compiler
from ops.backends.cupy import calls as cuda_calls
from ops.layout import in_format_of
from ops.window import Window

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")


@pytest.fixture(scope="module")
def library(made_once):
    return ctypes.CDLL(str(made_once("cuda_on_cpu", build) / "kernels.so"))


@cases(0.01)
@given(calls(["auto"], ("x", "weight"), kinds=("depthwise",)), st.sampled_from([1, 4, 132]))
def test_depthwise_kernels(library, call, processors):
    assume(call.refused() is None)
    assume(call.dtype in cuda_calls.STORAGE)
    gpu = Emulator(library)
    gpu.processors = processors
    drawn = call.tensors({"x": call.shapes()["x"], "weight": (call.batch, call.inputs, *call.kernel)})
    x, weight = (t.detach().resolve_neg() for t in drawn.values())  # as the dispatcher hands them on
    window = Window.of(x, call.kernel, **call.window)
    wants, sums = ([f(t).requires_grad_() for t in (x, weight)] for f in (exact, magnitude))
    want, bound = (reference.depthwise_conv2d(*leaves, **call.window) for leaves in (wants, sums))
    y = cuda_calls.forward(x, weight, *window, gpu=gpu)
    check_close("output", y, want.detach(), bound.detach(), 0)
    grad = in_format_of(call.gradient(y).resolve_neg(), x)
    gradients = torch.autograd.grad(want, wants, exact(grad)), torch.autograd.grad(bound, sums, magnitude(grad))
    gx = cuda_calls.grad_input(grad, weight, x.shape[2:], *window, gpu=gpu)
    gw = cuda_calls.grad_weight(grad, x, call.kernel, *window, gpu=gpu)
    for name, found, right, limit in zip(("x", "weight"), (gx, gw), *gradients):
        check_close(f"gradient of {name}", found, right, limit, 0)
