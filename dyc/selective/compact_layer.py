"""What becomes of one selective layer in a compact network: its parts, with fewer channels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.conversion.convertible import keep_hooks
from dyc.layers.gathered import SelectChannels, ShiftChannels
from dyc.layers.selective_conv import MaskedConv2d, SelectiveConv2d


@dataclass
class Plan:
    """Channels of one selective layer, all ``(n,)`` int64.

    ``kept`` are those that stay in norm and convolution; ``read`` what each of them reads from the layer's input, that
    is itself or the source of a re-used channel; ``slots`` the positions in ``kept`` of re-used channels.
    """

    kept: Tensor
    read: Tensor
    slots: Tensor


def plan_of(layer: SelectiveConv2d, keep_all: bool) -> Plan:
    """Return the channels of a layer that stay: the open ones, or all."""
    if keep_all:
        kept = torch.arange(layer.in_channels, device=layer.mask.device)
        slots = ((layer.pointers >= 0) & layer.mask).nonzero().flatten()
        return Plan(kept, kept.index_copy(0, slots, layer.pointers[slots]), slots)
    kept = layer.mask.nonzero().flatten()
    if not kept.shape[0]:  # no layer works without channels; the weights of this one are set to zero
        kept = kept.new_zeros(1)
        return Plan(kept, kept, kept[:0])
    pointers = layer.pointers[kept]
    return Plan(kept, torch.where(pointers >= 0, pointers, kept), (pointers >= 0).nonzero().flatten())


def _parameter(old: nn.Parameter, values: Tensor) -> nn.Parameter:
    """Return ``values`` as a parameter that is trained if ``old`` was."""
    return nn.Parameter(values.detach().clone(memory_format=torch.preserve_format), old.requires_grad)


def _narrow_norm(norm: nn.Module, kept: Tensor) -> nn.Module:
    """Leave the channels ``kept`` in a BatchNorm, of whatever class."""
    norm.weight, norm.bias = _parameter(norm.weight, norm.weight[kept]), _parameter(norm.bias, norm.bias[kept])
    norm.running_mean, norm.running_var = norm.running_mean[kept], norm.running_var[kept]
    norm.num_features = kept.shape[0]
    return norm


def _ordinary(conv: MaskedConv2d, kept: Tensor) -> nn.Conv2d:
    """Return a convolution of the input channels ``kept``, in which closed ones have weights of zero."""
    with torch.device("meta"):
        plain = nn.Conv2d(
            kept.shape[0],
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
        )
    # Not a product, in which a weight that is not finite would leave its mark.
    plain.weight = _parameter(conv.weight, conv.weight.masked_fill(~conv.mask[:, None, None], 0.0)[:, kept])
    plain.bias = conv.bias
    keep_hooks(conv, plain)
    return plain.train(conv.training)


def narrow_outputs(conv: nn.Conv2d, kept: Tensor) -> None:
    """Leave the output channels ``kept`` in a convolution."""
    conv.weight = _parameter(conv.weight, conv.weight[kept])
    if conv.bias is not None:
        conv.bias = _parameter(conv.bias, conv.bias[kept])
    conv.out_channels = kept.shape[0]


def compact_layer(layer: SelectiveConv2d, plan: Plan, produced: Tensor | None) -> nn.Sequential:
    """Return ordinary modules in place of a selective layer.

    Args:
        layer: The layer, whose parts are used up.
        plan: Its channels.
        produced: The channels that its input will still have, ascending; None for all.
    """
    select, shift = None, None
    channels = layer.in_channels if produced is None else produced.shape[0]
    read = plan.read if produced is None else torch.searchsorted(produced, plan.read)
    slots = plan.slots
    if channels == plan.kept.shape[0] == layer.in_channels:
        sources = read[slots]  # every channel is at its place
    else:
        sources = slots.clone()  # the selection puts there what they read
        if not torch.equal(read, torch.arange(channels, device=read.device)):
            select = SelectChannels(read.clone())
    if slots.shape[0] > 0:
        shift = ShiftChannels(slots, sources, layer.shift.detach()[plan.kept[slots]], layer.backend)
    return assembled(layer, plan.kept, select, shift)


def assembled(
    layer: SelectiveConv2d, kept: Tensor, select: SelectChannels | None, shift: ShiftChannels | None
) -> nn.Sequential:
    """Return the parts of a selective layer in their order, norm and convolution with the channels ``kept``."""
    parts = nn.Sequential()
    if select is not None:
        parts.add_module("select", select)
    if shift is not None:
        shift.shift.requires_grad_(layer.shift.requires_grad)
        parts.add_module("shift", shift)
    parts.add_module("norm", _narrow_norm(layer.norm, kept))
    if not isinstance(layer.act, nn.Identity):
        parts.add_module("act", layer.act)
    if layer.drop is not None:
        parts.add_module("drop", layer.drop)
    parts.add_module("conv", _ordinary(layer.conv, kept))
    parts.training = layer.training
    for part in parts:
        if isinstance(part, SelectChannels | ShiftChannels):  # the others have modes of their own
            part.training = layer.training
    keep_hooks(layer, parts)
    return parts


def sizes(parts: nn.Sequential) -> dict[str, int]:
    """Return how many channels the parts of a compact layer have, those that it has not being left out."""
    found = {"norm": parts.norm.num_features}
    if hasattr(parts, "select"):
        found["select"] = parts.select.index.shape[0]
    if hasattr(parts, "shift"):
        found["shift"] = parts.shift.slots.shape[0]
    return found
