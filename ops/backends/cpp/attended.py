"""A whole layer in one call of C++: its ``torch.library`` operators, their schemas and shapes."""

from math import prod

import torch
from torch.utils.flop_counter import register_flop_formula

from ops.backends.flops import convolution
from ops.backends.library import LIBRARY, WINDOW, empty_output
from ops.layout import laid_out

_BRANCH = "Tensor fc1_weight, Tensor? fc1_bias, Tensor fc2_weight, Tensor? fc2_bias, Tensor temperature"
_KEPT = "Tensor pooled, Tensor hidden, Tensor attention, Tensor mixed"

LIBRARY.define(f"attended_depthwise(Tensor x, Tensor bank, {_BRANCH}, {WINDOW}) -> Tensor")
LIBRARY.define(
    f"attended_depthwise_keeping(Tensor x, Tensor bank, {_BRANCH}, {WINDOW})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
LIBRARY.define(
    "attended_depthwise_backward(Tensor grad, Tensor x, Tensor bank, Tensor fc1_weight, Tensor fc2_weight,"
    f" Tensor temperature, {_KEPT}, bool[6] needs, {WINDOW}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _channels_last(x):
    return laid_out(x, True)


@torch.library.register_fake("dyc::attended_depthwise", lib=LIBRARY)
def _(x, bank, fc1_weight, fc1_bias, fc2_weight, fc2_bias, temperature, stride, padding, dilation):
    return _channels_last(empty_output(x, bank.shape[3:], (stride, padding, dilation)))


@torch.library.register_fake("dyc::attended_depthwise_keeping", lib=LIBRARY)
def _(x, bank, fc1_weight, fc1_bias, fc2_weight, fc2_bias, temperature, stride, padding, dilation):
    y = _channels_last(empty_output(x, bank.shape[3:], (stride, padding, dilation)))
    batch, channels = x.shape[:2]
    mixed = _channels_last(x.new_empty((batch, channels, *bank.shape[3:])))
    widths = (channels, fc1_weight.shape[0], fc2_weight.shape[0])
    return y, *(x.new_empty((batch, width)) for width in widths), mixed


@torch.library.register_fake("dyc::attended_depthwise_backward", lib=LIBRARY)
def _(grad, x, bank, fc1, fc2, temperature, pooled, hidden, attention, mixed, needs, stride, padding, dilation):
    gx = _channels_last(x.new_empty(x.shape))
    gbank = _channels_last(bank.new_empty(bank.shape).squeeze(2)).unsqueeze(2)
    weights = ((w.new_empty(w.shape), w.new_empty(w.shape[:1])) for w in (fc1, fc2))
    found = (gx, gbank, *(t for pair in weights for t in pair))
    return tuple(t if needed else None for t, needed in zip(found, needs))


# The convolution and the two linear layers, as the parts would count; mixing the bank is not counted.


@register_flop_formula(torch.ops.dyc.attended_depthwise)
def _(x, bank, fc1, bias1, fc2, *_, out_shape, **__) -> int:
    return convolution(out_shape, bank[3:]) + 2 * x[0] * (prod(fc1) + prod(fc2))


@register_flop_formula(torch.ops.dyc.attended_depthwise_keeping)
def _(x, bank, fc1, bias1, fc2, *_, out_shape, **__) -> int:
    return convolution(out_shape[0], bank[3:]) + 2 * x[0] * (prod(fc1) + prod(fc2))


@register_flop_formula(torch.ops.dyc.attended_depthwise_backward)
def _(grad, x, bank, fc1, fc2, temperature, pooled, hidden, attention, mixed, needs, *_, **__) -> int:
    for_x, for_bank, for_fc1, for_bias1, for_fc2, for_bias2 = needs
    for_hidden = for_x or for_fc1 or for_bias1
    gradients = for_x + (for_bank or for_hidden or for_fc2 or for_bias2)  # to the features, and to the mixed kernels
    products = (for_x + for_fc1) * prod(fc1) + (for_hidden + for_fc2) * prod(fc2)
    return gradients * convolution(grad, bank[3:]) + 2 * x[0] * products
