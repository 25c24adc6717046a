"""A copy of a network whose layers of ours are stand-ins: one ONNX node each, which is filled in after the tracing.

Tracing takes about as long for each operator, and a dynamic layer has twenty of them.
"""

import copy
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from dyc.conversion.convertible import has_hooks
from dyc.export.onnx import branches
from dyc.layers import BlockCoefficients, DynamicConv2d, DynamicConv2dSame, MaskedConv2d, SelectiveConv2d
from dyc.layers.gathered import ShiftChannels
from ops import KernelAttention

DOMAIN = "dyc"
OP = f"{DOMAIN}::Layer"


class StandIn(nn.Module):
    """Becomes one node, which names the layer it stands for.

    Args:
        path: The layer's name in the network.
        layer: The layer.
    """

    def __init__(self, path: str, layer: nn.Module):
        super().__init__()
        self.path = path
        self.__dict__["layer"] = layer  # not as a child: its parameters would become inputs of the program

    def node(self, inputs: tuple[Tensor | None, ...], shape: tuple, **attrs: Any) -> Tensor:
        """Return what stands for the layer's output of that shape."""
        x = inputs[0]
        return torch.onnx.ops.symbolic(OP, inputs, {"layer": self.path, **attrs}, dtype=x.dtype, shape=shape, version=1)


class ConvStandIn(StandIn):
    """Stands for a dynamic convolution, or for a static one that pads to "same" by each image's size."""

    def __init__(self, path: str, layer: nn.Module):
        super().__init__(path, layer)
        branch = getattr(layer, "attention", None)
        self.attention = None if branch is None or branches.known(branch) else branch
        self.same = isinstance(layer, DynamicConv2dSame | Conv2dSame)

    def forward(self, x: Tensor, attention: Tensor | None = None) -> Tensor:
        """Return what stands for the output; a branch that is not known is traced."""
        if self.attention is not None:
            attention = self.attention(x)
        given = attention if isinstance(attention, KernelAttention) else (attention,)
        inputs = (x, *given) if given[0] is not None else (x,)
        while inputs[-1] is None:
            inputs = inputs[:-1]
        return self.node(inputs, (x.shape[0], self.layer.out_channels, *self._size(x)))

    def _size(self, x: Tensor) -> list:
        layer = self.layer
        if self.same:
            return [(size - 1) // step + 1 for size, step in zip(x.shape[2:], layer.stride)]
        geometry = zip(x.shape[2:], layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        return [(size + 2 * pad - dil * (k - 1) - 1) // step + 1 for size, k, step, pad, dil in geometry]


class CoefficientsStandIn(StandIn):
    """Stands for the module that predicts the coefficients of a block."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what stands for the coefficients of each convolution."""
        kernels, widths = self.layer.num_kernels, self.layer.out_channels
        return [self.node((x,), (x.shape[0], kernels, width), part=part) for part, width in enumerate(widths)]


class ShiftStandIn(StandIn):
    """Stands for channels that are replaced by shifted copies of others."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what stands for the output."""
        return self.node((x,), tuple(x.shape))


def twin_of(network: nn.Module) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Return a copy of a network with stand-ins, in evaluation mode and single precision, and the layers by path."""
    twin = copy.deepcopy(network).eval().cpu().float().requires_grad_(False)
    for module in twin.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # what is changed in place has to be traced twice
    twin.to(memory_format=torch.contiguous_format)
    layers: dict[str, nn.Module] = {}
    made: dict[nn.Module, nn.Module] = {}
    for path, module in list(twin.named_modules(remove_duplicate=False)):
        if module not in made:
            made[module] = _replacement(path, module, layers)
        if made[module] is not module:
            if not path:
                return made[module], layers
            twin.set_submodule(path, made[module])
    return twin, layers


def _replacement(path: str, module: nn.Module, layers: dict[str, nn.Module]) -> nn.Module:
    """Return what takes the place of a module, which may be itself; note the layer if it is a stand-in."""
    if has_hooks(module) or "forward" in module.__dict__:
        return module
    kind = type(module)
    if kind is SelectiveConv2d:
        return _ordinary(path, module, layers)
    if kind is MaskedConv2d:
        return _plain(module)
    if kind in (DynamicConv2d, DynamicConv2dSame) or _pads_by_size(module):
        if kind is not DynamicConv2d and max(module.dilation) > 1 and max(module.stride) > 1:
            return module  # ONNX Runtime has no such padding; the tracing follows the sizes
        stand_in = ConvStandIn(path, module)
    elif kind is BlockCoefficients and branches.known(module):
        stand_in = CoefficientsStandIn(path, module)
    elif kind is ShiftChannels:
        stand_in = ShiftStandIn(path, module)
    else:
        return module
    layers[path] = module
    return stand_in


def _pads_by_size(module: nn.Module) -> bool:
    return type(module) is Conv2dSame and type(module.weight) is nn.Parameter


def _ordinary(path: str, layer: SelectiveConv2d, layers: dict[str, nn.Module]) -> nn.Sequential:
    """Return the parts of a selective layer, one after the other; dropout does nothing in evaluation."""
    parts = nn.Sequential()
    if layer.shift is not None and layer.slots.shape[0]:
        name = f"{path}.rewired" if path else "rewired"
        layers[name] = ShiftChannels(layer.slots, layer.sources, layer.shift.detach()[layer.slots])
        parts.add_module("rewired", ShiftStandIn(name, layers[name]))
    parts.add_module("norm", layer.norm)
    parts.add_module("act", layer.act)
    parts.add_module("conv", _plain(layer.conv))
    return parts.eval()


def _plain(conv: MaskedConv2d) -> nn.Conv2d:
    """Return a convolution whose closed input channels have weights of zero."""
    options = {"bias": conv.bias is not None, "padding_mode": conv.padding_mode}
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, **options
    )
    plain.weight = nn.Parameter(conv.weight.detach().masked_fill(~conv.mask[:, None, None], 0.0), False)
    plain.bias = conv.bias
    return plain.eval()
