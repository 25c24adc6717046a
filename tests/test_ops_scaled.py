"""KernelAttention: weights of input channels and taps beside those of the kernels, in every kind of convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dyc
import ops

SHAPES = {
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8},
    "depthwise_strided": {"in_channels": 8, "out_channels": 8, "kernel_size": (3, 5), "stride": 2, "groups": 8},
    "multiplied": {"in_channels": 8, "out_channels": 16, "kernel_size": 3, "groups": 8},
    "pointwise": {"in_channels": 8, "out_channels": 6, "kernel_size": 1},
    "pointwise_wide": {"in_channels": 8, "out_channels": 64, "kernel_size": 1, "stride": 2},
    "dense": {"in_channels": 8, "out_channels": 6, "kernel_size": 3, "padding": "same", "dilation": 2},
    "dense_wide": {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "stride": 2, "padding": 1},
    "grouped": {"in_channels": 8, "out_channels": 12, "kernel_size": (3, 1), "stride": (2, 1), "groups": 4},
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
K = 3


class Given(nn.Module):
    """A branch that returns what it holds."""

    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def forward(self, x):
        return self.returned


def case(shape: dict, channelwise: bool, parts: str, batch: int = 2, dtype=torch.float64):
    """Draw a layer, its features and its weights, those named by ``parts``; all of them want gradients."""
    kernel = shape["kernel_size"] if isinstance(shape["kernel_size"], tuple) else (shape["kernel_size"],) * 2

    def draw(*size):
        return torch.rand(*size, dtype=dtype).add(0.1).requires_grad_()

    weights = dyc.KernelAttention(
        draw(batch, K, *([shape["out_channels"]] if channelwise else [])),
        draw(batch, shape["in_channels"]) if "inputs" in parts else None,
        draw(batch, *kernel) if "taps" in parts else None,
    )
    layer = dyc.DynamicConv2d(**shape, num_kernels=K, attention=Given(weights)).to(dtype)
    nn.init.normal_(layer.bias)
    return layer, torch.randn(batch, shape["in_channels"], 7, 6, dtype=dtype).requires_grad_(), weights


def definition(layer: dyc.DynamicConv2d, x: torch.Tensor, weights: dyc.KernelAttention) -> torch.Tensor:
    """Convolve one sample after the other, with factors written out."""
    outputs = []
    for n in range(len(x)):
        shares = weights.kernels[n] if weights.kernels.dim() == 3 else weights.kernels[n][:, None]
        kernel = sum(shares[k].reshape(-1, 1, 1, 1) * layer.weight[k] for k in range(K))
        if weights.taps is not None:
            kernel = kernel * weights.taps[n]
        features = x[n] if weights.inputs is None else x[n] * weights.inputs[n].reshape(-1, 1, 1)
        bias = sum(shares[k] * layer.bias[k] for k in range(K))
        outputs.append(F.conv2d(features, kernel, bias, layer.stride, layer.padding, layer.dilation, layer.groups))
    return torch.stack(outputs)


@pytest.mark.parametrize("parts", ["", "inputs", "taps", "inputs taps"], ids=["kernels", "inputs", "taps", "all"])
@pytest.mark.parametrize("channelwise", [False, True], ids=["per_kernel", "per_channel"])
@shapes
def test_output_and_every_gradient_are_those_of_the_definition(shape, channelwise, parts):
    for batch in (1, 2):
        layer, x, weights = case(shape, channelwise, parts, batch)
        wanted = [x, layer.weight, layer.bias, *(w for w in weights if w is not None)]
        want, got = definition(layer, x, weights), layer(x)
        torch.testing.assert_close(got, want)
        toward = torch.randn_like(want)
        for a, b in zip(torch.autograd.grad(got, wanted, toward), torch.autograd.grad(want, wanted, toward)):
            torch.testing.assert_close(a, b)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), want)


@pytest.mark.parametrize("mixing", ["kernels", "features"])
@shapes
def test_what_is_mixed_changes_nothing(shape, mixing):
    layer, x, _ = case(shape, True, "inputs")
    want = layer(x)
    layer.mixing = mixing
    torch.testing.assert_close(layer(x), want)


@shapes
def test_memory_format_is_that_of_the_input(shape):
    layer, x, _ = case(shape, True, "inputs taps", dtype=torch.float32)
    want = layer(x)
    assert want.is_contiguous()
    layer = layer.to(memory_format=torch.channels_last)
    got = layer(x.contiguous(memory_format=torch.channels_last))
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, want)


@shapes
def test_autocast(shape):
    layer, x, weights = case(shape, True, "inputs taps", dtype=torch.float32)
    want = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x)
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).abs().max() < 0.03 * want.abs().max()
    got.float().sum().backward()
    assert {t.grad.dtype for t in (x, layer.weight, layer.bias, *weights)} == {torch.float32}


def weights_of(**changes) -> dyc.KernelAttention:
    right = {"kernels": torch.rand(2, K), "inputs": torch.rand(2, 8), "taps": torch.rand(2, 3, 3)}
    return dyc.KernelAttention(**{**right, **changes})


WRONG = {
    "a_tuple": ((torch.rand(2, K), torch.rand(2, 8)), "attention: got tuple; need a tensor"),
    "nothing": (None, "attention: got NoneType; need a tensor"),
    "kernels_missing": (weights_of(kernels=None), "attention.kernels: got NoneType; need a tensor"),
    "inputs_a_number": (weights_of(inputs=1.0), "attention.inputs: got float; need a tensor"),
    "kernels_batch": (weights_of(kernels=torch.rand(1, K)), r"attention.kernels: got shape \(1, 3\)"),
    "kernels_count": (weights_of(kernels=torch.rand(2, 5)), r"attention: got shape \(2, 5\); need \(B, 3\)"),
    "inputs": (weights_of(inputs=torch.rand(2, 6)), r"attention.inputs: got shape \(2, 6\); need \(B, 8\)"),
    "taps": (weights_of(taps=torch.rand(2, 9)), r"attention.taps: got shape \(2, 9\); need \(B, 3, 3\)"),
    "dtype": (weights_of(taps=torch.rand(2, 3, 3).double()), "attention.taps: got torch.float64"),
}


@pytest.mark.parametrize(("returned", "message"), WRONG.values(), ids=WRONG)
def test_an_attention_that_returns_something_else_is_told_what_is_needed(returned, message):
    layer = dyc.DynamicConv2d(8, 6, 3, num_kernels=K, attention=Given(returned))
    with pytest.raises(ops.ArgumentError, match=message):
        layer(torch.randn(2, 8, 7, 6))


def test_features_cannot_be_mixed_where_taps_are_scaled():
    layer = dyc.DynamicConv2d(8, 6, 3, num_kernels=K, mixing="features", attention=Given(weights_of()))
    with pytest.raises(ops.ArgumentError, match="mixing: got 'features' with weights of taps; need 'kernels'"):
        layer(torch.randn(2, 8, 7, 6))


@pytest.mark.parametrize("name", ["dense", "depthwise"])
def test_one_graph_serves_all_batches(name):
    layer = dyc.DynamicConv2d(**SHAPES[name], attention="odconv").eval()
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(layer, backend=keep, fullgraph=True, dynamic=True)
    for batch in (2, 3, 5):
        x = torch.randn(batch, 8, 7, 6)
        torch.testing.assert_close(compiled(x), layer(x))
    assert len(graphs) == 1


def test_statistics_are_those_of_the_kernels():
    layer = dyc.DynamicConv2d(8, 6, 3, num_kernels=4, attention=Given(weights_of(kernels=torch.full((2, 4), 0.5))))
    found = dyc.attention_statistics(nn.Sequential(layer), torch.randn(2, 8, 7, 6))["0"]
    assert found.entropy == pytest.approx(1)
    assert found.variation == 0
