"""``FlopCounterMode`` counts the operators of all backends as the static convolution of the same shape."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import dyc
import ops

AVAILABLE = [status.name for status in ops.backends() if status.available and status.name != "cupy"]
WINDOW = {"stride": 2, "padding": 1}
CONVOLUTION = 2 * (3 * 6 * 5 * 4) * 9  # of the case below


def counted(call):
    """Return the multiply-adds of a call, forward and, if it asks for gradients, backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        y = call()
    forward = counter.get_total_flops()
    if not y.requires_grad:
        return forward, 0
    with counter:
        y.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("backend", [name for name in AVAILABLE if name != "eager"])
def test_a_depthwise_convolution(backend, channels_last):
    x = torch.randn(3, 6, 9, 7).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    weight = torch.randn(3, 6, 3, 3)
    assert counted(lambda: F.conv2d(x, weight[0].unsqueeze(1), groups=6, **WINDOW)) == (CONVOLUTION, 0)
    assert counted(lambda: ops.depthwise_conv2d(x, weight, **WINDOW, backend=backend)) == (CONVOLUTION, 0)
    x.requires_grad_()
    assert counted(lambda: ops.depthwise_conv2d(x, weight, **WINDOW, backend=backend)) == (CONVOLUTION, CONVOLUTION)
    y = ops.depthwise_conv2d(x, weight.requires_grad_(), **WINDOW, backend=backend)
    counter = FlopCounterMode(display=False)
    with counter:
        gradients = torch.autograd.grad(y.square().sum(), (x, weight))
    assert counter.get_total_flops() == 2 * CONVOLUTION
    want = ops.depthwise_conv2d(x, weight, **WINDOW, backend="eager")
    for ours, theirs in zip(gradients, torch.autograd.grad(want.square().sum(), (x, weight)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif("cpp" not in AVAILABLE, reason="needs the backend cpp")
def test_a_whole_layer():
    x = torch.randn(3, 6, 9, 7).to(memory_format=torch.channels_last)
    weights = (torch.randn(5, 6), None, torch.randn(24, 5), None)
    bank, branch = torch.randn(4, 6, 1, 3, 3), ops.GlobalBranch(*weights, torch.tensor(2.0))

    def call():
        return ops.attended_conv2d(x, bank, branch, groups=6, **WINDOW, backend="cpp")

    linear = 2 * 3 * (5 * 6 + 24 * 5)
    assert counted(call) == (CONVOLUTION + linear, 0)
    x.requires_grad_()
    bank.requires_grad_()
    for weight in weights[::2]:
        weight.requires_grad_()
    assert counted(call) == (CONVOLUTION + linear, 2 * (CONVOLUTION + linear))


@pytest.mark.parametrize("backend", AVAILABLE)
def test_the_network_of_the_report(backend):
    network = timm.create_model("dyc_mobilenetv2_cifar").eval()
    dyc.set_backend(network, backend)
    x = torch.randn(1, 3, 32, 32)
    sizes = dyc.profile(network, (3, 32, 32))
    with torch.no_grad():
        forward, _ = counted(lambda: network(x))
    assert forward == 2 * sizes.macs == 2 * 96_670_144
    counter = FlopCounterMode(display=False)
    with counter:
        y = network(x)
    forward = dict(counter.get_flop_counts()["Global"])
    with counter:
        y.sum().backward()
    backward = dict(counter.get_flop_counts()["Global"])
    # With gradients the bank is mixed by matrix products, which PyTorch counts.
    assert sum(forward.values()) == 2 * (sizes.macs + sizes.mixing_macs)
    # PyTorch counts the gradient of a static convolution by the number of its groups too high; what else there is takes
    # one product for each of its two gradients.
    static, gradient = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
    assert {static in forward, gradient in backward} == {True}
    forward.pop(static), backward.pop(gradient)
    assert sum(backward.values()) == 2 * sum(forward.values()) > 0
    # Of the convolutions, the dynamic depthwise ones are ours, but with the backend eager.
    dynamic = {str(operator): count for operator, count in forward.items() if str(operator).startswith("dyc.")}
    assert sum(dynamic.values()) == (0 if backend == "eager" else 4_313_088)
