"""DynamicConv2d with an attention of one's own, and arguments that cannot be used."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dyc
import ops
from dyc.layers import attention_kinds, kinds

DEPTHWISE = {"in_channels": 32, "out_channels": 32, "kernel_size": 3, "padding": 1, "groups": 32}


@pytest.fixture
def attention_registry():
    """Let a test register kinds of attention; the registry is put back afterwards."""
    before = dict(kinds._KINDS)
    yield
    kinds._KINDS.clear()
    kinds._KINDS.update(before)


class Fixed(nn.Module):
    """An attention that ignores its input and is not a softmax."""

    def __init__(self, in_channels, out_channels, num_kernels, *, temperature, first=1.0):
        super().__init__()
        self.weights = nn.Parameter(torch.eye(num_kernels)[0] * first)

    def forward(self, x):
        return self.weights.expand(x.shape[0], -1)


class TestCustomAttention:
    def check(self, layer: dyc.DynamicConv2d, factor: float = 1.0) -> None:
        x = torch.randn(3, 32, 7, 6)
        torch.testing.assert_close(layer(x), factor * F.conv2d(x, layer.weight[0], None, 1, 1, 1, 32))

    @pytest.mark.usefixtures("attention_registry")
    def test_by_name(self):
        dyc.register_attention("fixed", Fixed)
        assert "fixed" in attention_kinds()
        self.check(dyc.DynamicConv2d(**DEPTHWISE, bias=False, attention="fixed"))

    def test_by_factory(self):
        layer = dyc.DynamicConv2d(
            **DEPTHWISE, bias=False, attention=partial(Fixed, first=3.0), attention_kwargs={"first": 2.0}
        )
        self.check(layer, 2.0)

    def test_by_module(self):
        module = Fixed(32, 32, 4, temperature=1.0)
        layer = dyc.DynamicConv2d(**DEPTHWISE, bias=False, attention=module)
        assert layer.attention is module
        self.check(layer)

    @pytest.mark.usefixtures("attention_registry")
    def test_a_taken_name_is_refused_unless_replaced(self):
        with pytest.raises(ops.ArgumentError, match=r"name: 'dy' is taken by .*; choose another name"):
            dyc.register_attention("dy", Fixed)
        dyc.register_attention("dy", Fixed, replace=True)
        self.check(dyc.DynamicConv2d(**DEPTHWISE, bias=False, attention="dy"))


ERRORS = {
    "groups": ({"groups": 3}, "groups: got 3; need a divisor of in_channels 8"),
    "groups_zero": ({"groups": 0}, "groups: got 0; need at least 1"),
    "num_kernels": ({"num_kernels": 0}, "num_kernels: got 0; need at least 1"),
    "kernel_size": ({"kernel_size": 0}, "kernel_size: got 0; need one int or a pair of ints, each at least 1"),
    "stride": ({"stride": (1, 0)}, r"stride: got \(1, 0\); need one int or a pair of ints, each at least 1"),
    "padding": ({"padding": -1}, "padding: got -1; need one int or a pair of ints, each at least 0"),
    "padding_word": ({"padding": "smae"}, "padding: got 'smae'.*; need ints, 'valid', or 'same'"),
    "padding_same": ({"padding": "same", "stride": 2}, "padding: got 'same' with stride .*; need .*stride 1"),
    "dilation": ({"dilation": 0}, "dilation: got 0; need one int or a pair of ints, each at least 1"),
    "temperature_zero": ({"temperature": 0}, "temperature: got 0; need a positive number"),
    "temperature_nan": ({"temperature": math.nan}, "temperature: got nan; need a positive number"),
    "temperature_inf": ({"temperature": math.inf}, "temperature: got inf; need a positive number"),
    "temperature_word": ({"temperature": "hot"}, "temperature: got 'hot'; need a positive number"),
    "attention": ({"attention": "dycc"}, r"attention: got 'dycc' \(did you mean 'dyc'.*\?\); need one of .*'dy'"),
    "attention_kwargs": (
        {"attention_kwargs": {"ratio": 1}},
        "attention_kwargs: got {'ratio': 1}; need what 'dy' takes",
    ),
    "kwargs_of_a_module": (
        {"attention": nn.Identity(), "attention_kwargs": {"ratio": 1}},
        "attention_kwargs: {'ratio': 1} cannot be given to a finished module; leave",
    ),
    "backend": ({"backend": "eagr"}, r"backend: got 'eagr' \(did you mean 'eager'\?\)"),
    "mixing": ({"mixing": "kernel"}, r"mixing: got 'kernel' \(did you mean 'kernels'\?\); need one of 'auto'"),
}


@pytest.mark.parametrize(("changes", "message"), ERRORS.values(), ids=ERRORS)
def test_arguments_that_cannot_be_used(changes, message):
    with pytest.raises(ops.ArgumentError, match=message):
        dyc.DynamicConv2d(**{"in_channels": 8, "out_channels": 8, "kernel_size": 3, **changes})
