"""DynamicConv2d and its attention: the mathematics, the temperature, the initialisation, one sample at a time."""

import copy
import io
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dyc
from dyc.layers import attention_kinds

SHAPES = {
    "depthwise": {"in_channels": 32, "out_channels": 32, "kernel_size": 3, "padding": 1, "groups": 32},
    "pointwise": {"in_channels": 32, "out_channels": 24, "kernel_size": 1},
    "dense": {"in_channels": 32, "out_channels": 24, "kernel_size": 3, "padding": "same"},
    "grouped": {"in_channels": 32, "out_channels": 48, "kernel_size": (3, 1), "stride": (2, 1), "groups": 4},
}

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
every_kind = pytest.mark.parametrize("kind", attention_kinds())


def sums_to_one(kind: str) -> bool:
    return getattr(dyc.DynamicConv2d(8, 8, 1, attention=kind).attention, "sums_to_one", True)


def features(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 32, 7, 6)


@every_kind
@shapes
def test_it_convolves_each_sample_with_its_mixture_of_the_bank(shape, kind):
    layer = dyc.DynamicConv2d(**shape, attention=kind, temperature=1.0).double()
    nn.init.normal_(layer.bias)
    x = features().double()
    found = layer.attention(x)
    attention, inputs, taps = found if isinstance(found, dyc.KernelAttention) else dyc.KernelAttention(found)
    attention = attention.unsqueeze(-1).expand(-1, -1, layer.out_channels) if attention.dim() == 2 else attention
    inputs = torch.ones(3, 32).double() if inputs is None else inputs
    taps = torch.ones(3, *layer.kernel_size).double() if taps is None else taps
    for n, output in enumerate(layer(x)):
        weight = (attention[n, :, :, None, None, None] * layer.weight).sum(0) * taps[n]
        bias = (attention[n] * layer.bias).sum(0)
        scaled = x[n] * inputs[n, :, None, None]
        alone = F.conv2d(scaled, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        torch.testing.assert_close(output, alone)


@shapes
def test_it_is_a_drop_in_for_conv2d(shape):
    assert dyc.DynamicConv2d(**shape)(features()).shape == nn.Conv2d(**shape)(features()).shape


@pytest.mark.parametrize("kind", ["dy", "dyc"])
def test_attention_sums_to_one_over_the_kernels(kind):
    layer = dyc.DynamicConv2d(**SHAPES["pointwise"], num_kernels=5, attention=kind, temperature=0.5)
    attention = layer.attention(features())
    assert attention.shape == ((3, 5) if kind == "dy" else (3, 5, 24))
    torch.testing.assert_close(attention.sum(1), torch.ones_like(attention.sum(1)))
    assert attention.min() >= 0
    assert attention.std(0).min() > 0, "the attention ignores its input"


@shapes
def test_dyc_with_equal_logits_of_all_channels_is_dy(shape):
    dy = dyc.DynamicConv2d(**shape, attention="dy", temperature=1.0)
    channelwise = dyc.DynamicConv2d(**shape, attention="dyc", temperature=1.0)
    nn.init.normal_(dy.attention.fc2.bias)
    with torch.no_grad():
        channelwise.weight.copy_(dy.weight)
        channelwise.bias.copy_(nn.init.normal_(dy.bias))
        channelwise.attention.fc1.weight.copy_(dy.attention.fc1.weight)
        # Kernel-major: the outputs of one kernel's channels follow each other.
        channelwise.attention.fc2.weight.copy_(dy.attention.fc2.weight.repeat_interleave(dy.out_channels, 0))
        channelwise.attention.fc2.bias.copy_(dy.attention.fc2.bias.repeat_interleave(dy.out_channels))
    x = features()
    torch.testing.assert_close(channelwise(x), dy(x))


@pytest.mark.parametrize("kind", [kind for kind in attention_kinds() if sums_to_one(kind)])
@shapes
def test_one_kernel_is_a_static_convolution(shape, kind):
    layer = dyc.DynamicConv2d(**shape, num_kernels=1, attention=kind)
    nn.init.normal_(layer.bias)
    static = nn.Conv2d(**shape)
    with torch.no_grad():
        static.weight.copy_(layer.weight[0])
        static.bias.copy_(layer.bias[0])
    x = features()
    torch.testing.assert_close(layer(x), static(x))


@pytest.mark.parametrize("kind", ["dy", "dyc"])
class TestTemperature:
    def layer(self, kind: str, temperature: float) -> dyc.DynamicConv2d:
        return dyc.DynamicConv2d(**SHAPES["depthwise"], attention=kind, temperature=temperature)

    def test_it_divides_the_logits(self, kind):
        layer, x = self.layer(kind, 2.5), features()
        torch.testing.assert_close(layer.attention(x), torch.softmax(layer.attention.logits(x) / 2.5, dim=1))

    def test_a_large_one_makes_the_attention_uniform(self, kind):
        attention = self.layer(kind, 1e8).attention(features())
        torch.testing.assert_close(attention, torch.full_like(attention, 1 / 4))

    def test_a_small_one_picks_one_kernel(self, kind):
        largest = self.layer(kind, 1e-6).attention(features()).amax(1)
        torch.testing.assert_close(largest, torch.ones_like(largest))

    def test_a_checkpoint_predicts_with_the_temperature_it_was_trained_to(self, kind):
        trained, fresh, x = self.layer(kind, 30.0), self.layer(kind, 30.0), features()
        dyc.set_temperature(trained, 1.5)
        buffer = io.BytesIO()
        torch.save(trained.state_dict(), buffer)
        buffer.seek(0)
        fresh.load_state_dict(torch.load(buffer, weights_only=True))
        assert fresh.attention.temperature.item() == 1.5
        assert torch.equal(fresh(x), trained(x))


@every_kind
@pytest.mark.parametrize(
    ("channels", "groups", "fan_in"), [(256, 256, 9), (256, 1, 256 * 9), (256, 8, 32 * 9)], ids=["dw", "dense", "group"]
)
def test_every_kernel_starts_with_the_spread_of_its_true_fan_in(channels, groups, fan_in, kind):
    layer = dyc.DynamicConv2d(channels, channels, 3, groups=groups, attention=kind)
    want = math.sqrt(2 / fan_in)
    for kernels in layer.weight:
        # The spread of n normal draws is off by sqrt(1 / 2n) on average; n is 2,304 at least.
        assert abs(kernels.std().item() / want - 1) < 5 * math.sqrt(1 / (2 * kernels.numel()))
        assert abs(kernels.mean().item()) < 5 * want / math.sqrt(kernels.numel())
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert torch.equal(layer.bias, torch.zeros(4, channels)), "the bias bank must not start uninitialised"


@every_kind
@shapes
def test_one_sample_trains_and_every_parameter_gets_a_gradient(shape, kind):
    layer = dyc.DynamicConv2d(**shape, attention=kind).train()
    nn.init.normal_(layer.bias)
    layer(features(1)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    assert not any(isinstance(module, norms) for module in layer.attention.modules())


@every_kind
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "pickle"]
)
def test_copies_compute_the_same(clone, kind):
    layer, x = dyc.DynamicConv2d(**SHAPES["grouped"], attention=kind, temperature=3.0), features()
    twin = clone(layer)
    assert torch.equal(twin(x), layer(x))
    with torch.no_grad():
        twin.weight.zero_()
    assert not torch.equal(twin(x), layer(x))


@shapes
def test_without_bias(shape):
    layer = dyc.DynamicConv2d(**shape, bias=False)
    assert layer.bias is None
    assert "bias" not in layer.state_dict()
    assert layer(torch.zeros_like(features())).count_nonzero() == 0


def test_channels_last_passes_over_the_bank():
    layer = dyc.DynamicConv2d(**SHAPES["dense"])
    x, before = features(), layer.weight.detach().clone()
    want = layer(x)
    layer = layer.to(memory_format=torch.channels_last)
    assert torch.equal(layer.weight, before)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, want)


def test_dtype_and_device_move_the_bank_and_the_attention():
    layer = dyc.DynamicConv2d(**SHAPES["dense"]).to(torch.bfloat16)
    assert {t.dtype for t in layer.state_dict().values()} == {torch.bfloat16}
    assert layer(features().bfloat16()).dtype == torch.bfloat16
    assert {t.device.type for t in layer.to("meta").state_dict().values()} == {"meta"}


@pytest.mark.parametrize("shape", [SHAPES["depthwise"], SHAPES["pointwise"]], ids=["depthwise", "pointwise"])
def test_autocast(shape):
    layer = dyc.DynamicConv2d(**shape, attention="dyc")
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(features())
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {torch.float32}


def test_extra_repr_tells_what_conv2d_tells():
    text = repr(dyc.DynamicConv2d(8, 8, 3, stride=2, padding=1, groups=8, num_kernels=3, backend="eager"))
    for part in (
        "8, 8, kernel_size=(3, 3)",
        "stride=(2, 2)",
        "groups=8",
        "num_kernels=3",
        "mixing='auto'",
        "backend='eager'",
    ):
        assert part in text
