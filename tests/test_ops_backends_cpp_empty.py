"""The C++ operators, called by themselves, on a batch of no samples."""

import pytest
import torch

import ops
from ops.backends.cpp.backend import load

STATUS = {status.name: status for status in ops.backends()}["cpp"]
pytestmark = pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons))

WINDOW = ((2, 1), (1, 2), (1, 1))  # stride, padding, dilation
LAST = torch.channels_last


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    load("convolutions", "rewire")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, LAST])
def test_depthwise(memory_format, dtype):
    x = torch.empty(0, 20, 9, 7, dtype=dtype, memory_format=memory_format, requires_grad=True)
    weight = torch.empty(0, 20, 3, 3, dtype=dtype, requires_grad=True)
    y = torch.ops.dyc.depthwise(x, weight, *WINDOW)
    assert (y.shape, y.dtype) == ((0, 20, 5, 9), dtype)
    y.sum().backward()
    assert (x.grad.shape, weight.grad.shape) == (x.shape, weight.shape)


@pytest.mark.parametrize("kernel", [3, 7], ids=["usual", "any"])
def test_a_whole_layer(kernel):
    x = torch.empty(0, 20, 9, 7, memory_format=LAST, requires_grad=True)
    shapes = ((4, 20, 1, kernel, kernel), (5, 20), (5,), (80, 5), (80,))
    parameters = [torch.randn(shape, requires_grad=True) for shape in shapes]
    call = torch.ops.dyc.attended_depthwise
    arguments = (x, *parameters, torch.tensor(2.0), (1, 1), (kernel // 2,) * 2, (1, 1))
    with torch.no_grad():
        assert call(*arguments).shape == x.shape
    y = call(*arguments)
    assert y.shape == x.shape
    for differentiable in (True, False):
        found = torch.autograd.grad(y.sum(), (x, *parameters), create_graph=differentiable, retain_graph=True)
        assert [gradient.shape for gradient in found] == [x.shape, *shapes]
        assert not any(gradient.any() for gradient in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rewired_channels(dtype):
    x, shift = torch.empty(0, 6, 5, 4, dtype=dtype, requires_grad=True), torch.randn(2, 2, requires_grad=True)
    y = torch.ops.dyc.rewire(x, torch.tensor([1, 4]), torch.tensor([0, 0]), shift)
    assert y.shape == x.shape
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert shift.grad.tolist() == [[0, 0], [0, 0]]
