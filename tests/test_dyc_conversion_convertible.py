"""Which convolutions make_dynamic converts, and how it names those that it cannot."""

import pytest
import torch
from timm.layers import ScaledStdConv2d, StdConv2d
from timm.layers.cond_conv2d import CondConv2d
from torch import nn
from torch.nn.utils import parametrizations, prune

import dyc
import ops


class Renamed(nn.Conv2d):
    """Another name and another way to be built."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)


class Masked(nn.Conv2d):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("mask", torch.ones(1))


class Scaled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


def hooked() -> nn.Conv2d:
    conv = nn.Conv2d(4, 4, 3)
    conv.register_forward_hook(lambda module, x, y: 2 * y)
    return conv


def patched() -> nn.Conv2d:
    conv = nn.Conv2d(4, 4, 3)
    conv.forward = lambda x: x
    return conv


UNSUPPORTED = {
    "its class StdConv2d computes more than nn.Conv2d": lambda: StdConv2d(4, 4, 3),
    "its class ScaledStdConv2d computes more than nn.Conv2d": lambda: ScaledStdConv2d(4, 4, 3),
    "its class Scaled computes more than nn.Conv2d": lambda: Scaled(4, 4, 3),
    "its class CondConv2d is not an nn.Conv2d": lambda: CondConv2d(4, 4, 3),
    "its class ConvTranspose2d is not an nn.Conv2d": lambda: nn.ConvTranspose2d(4, 4, 3),
    "weight is computed by torch.nn.utils.parametrize": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
    "its weight or bias is computed elsewhere": lambda: prune.l1_unstructured(nn.Conv2d(4, 4, 3), "weight", 0.5),
    "it holds more than weight and bias: mask": lambda: Masked(4, 4, 3),
    "its weight is of type UninitializedParameter": lambda: nn.LazyConv2d(4, 3),
    "it has hooks": hooked,
    "its forward was replaced": patched,
    "its padding_mode 'reflect' is not 'zeros'": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
}


class TestWhatCannotBeConverted:
    @pytest.mark.parametrize("reason", UNSUPPORTED)
    def test_it_is_named_with_the_reason(self, reason):
        def build() -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 4, 3), UNSUPPORTED[reason](), nn.Conv2d(4, 4, 3))

        model = build()
        with pytest.raises(ops.ArgumentError, match=f'where: matches 1 layer that .*1: {reason}.*unsupported="warn"'):
            dyc.make_dynamic(model, where="all_but_stem")
        assert not dyc.dynamic_layers(model)
        with pytest.warns(UserWarning, match=f"1: {reason}") as warned:
            dyc.make_dynamic(model, where="all_but_stem", unsupported="warn")
        assert len(warned) == 1
        assert warned[0].filename == __file__
        assert {row.name: row.static for row in dyc.dynamic_layers(model, static=True)}["2"] == ""
        assert reason in dyc.dynamic_layers(model, static=True)[1].static

    def test_none_of_them_can_be(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), hooked())
        with pytest.raises(ops.ArgumentError, match=r"1: it has hooks.*; choose others$"):
            dyc.make_dynamic(model, where="all_but_stem", unsupported="warn")

    def test_shared_parameters(self):
        model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
        model[2].weight = model[1].weight
        with pytest.raises(ops.ArgumentError, match=r"1: it shares parameters with 2; 2: it shares parameters with 1"):
            dyc.make_dynamic(model, where="all_but_stem")

    def test_unsupported_is_checked(self):
        with pytest.raises(ops.ArgumentError, match=r"unsupported: got 'warm' .did you mean 'warn'"):
            dyc.make_dynamic(nn.Sequential(nn.Conv2d(3, 3, 3)), where="0", unsupported="warm")


def test_a_subclass_that_only_bears_another_name():
    conv = Renamed(4)
    model = dyc.make_dynamic(nn.Sequential(conv), "dy", where="0")
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(model(x), conv(x))


def test_a_layer_with_two_names_stays_one_layer():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), conv, nn.ReLU(), conv)
    x = torch.randn(2, 3, 5, 5)
    want = model(x)
    dyc.make_dynamic(model, "dy", where="all_but_stem")
    assert model[1] is model[3]
    torch.testing.assert_close(model(x), want)
