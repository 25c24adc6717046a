"""Weights of a static convolution in a state dict, taken by the dynamic layer that stands in its place."""

from typing import Any

from torch import nn

from dyc.layers.kinds import copy_scales
from ops import ArgumentError


def as_bank(layer: nn.Module, state_dict: dict[str, Any], prefix: str) -> None:
    """Turn the entries of a static convolution into those of a dynamic layer, in place; leave others as they are.

    Every kernel of the bank, and every bias, becomes the static one, multiplied as :func:`dyc.make_dynamic` does. The
    attention, which no static network has, keeps what the layer has.

    Args:
        layer: The :class:`dyc.DynamicConv2d`.
        state_dict: State of the network, whose entries of this layer begin with ``prefix``.
        prefix: Name of the layer, with a dot; empty if the state is that of the layer alone.

    Raises:
        ArgumentError: The weights of the layer's attention do not sum to one, and it does not say by what to multiply.
    """
    weight, bias = (state_dict.get(f"{prefix}{name}") for name in ("weight", "bias"))
    if weight is None or weight.dim() != 4:
        return
    if layer.attention is None:
        where = repr(prefix[:-1]) if prefix else "the layer"
        sentence = f"{where} cannot take the kernels of a static network, as its attention comes with each call"
        raise ArgumentError("weights", sentence=sentence)
    scale, bias_scale = copy_scales(layer.attention, layer.attention_kind or type(layer.attention), loading=True)
    state_dict[f"{prefix}weight"] = (weight * scale).repeat(layer.num_kernels, 1, 1, 1, 1)
    if bias is not None:
        state_dict[f"{prefix}bias"] = (bias * bias_scale).repeat(layer.num_kernels, 1)
    for key, value in layer.attention.state_dict(prefix=f"{prefix}attention.").items():
        state_dict.setdefault(key, value)
