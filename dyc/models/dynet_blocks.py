"""The blocks that DyNet's families share: convolutions whose kernels one module per block mixes.

Zhang et al., DyNet, https://arxiv.org/abs/2004.10694. The ``dynet_*`` networks mix feature maps in training (Eq. 2)
and kernels in evaluation (Eq. 1). The ``fix_*`` baselines have the same channels, static kernels, no coefficients.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dyc.layers import BlockCoefficients, DynamicConv2d
from dyc.models.arguments import Argument, offers
from ops import ArgumentError, positive_int


class Conv(NamedTuple):
    """One convolution of a block: output channels, side of its kernels, stride, groups, and what follows its norm."""

    out_channels: int
    kernel_size: int
    stride: int = 1
    groups: int = 1
    act: type[nn.Module] | None = None


def with_kernels(network: Callable[..., nn.Module], dynamic: bool = True, **defaults) -> Callable[..., nn.Module]:
    """Return a builder of the dynamic network, whose ``num_kernels`` users choose, or of its static baseline."""

    own = {"num_kernels": Argument("num_kernels", "int", 6)} if dynamic else {}

    @offers(own, network, fixed=("num_kernels", *defaults))
    def build(num_kernels: int | None = None, **kwargs) -> nn.Module:
        if dynamic:
            num_kernels = positive_int("num_kernels", 6 if num_kernels is None else num_kernels)
        elif num_kernels is not None:
            raise ArgumentError("num_kernels", sentence="has no meaning for a network of static kernels; leave it out")
        return network(num_kernels=num_kernels or 0, **defaults, **kwargs)

    return build


def draw_kernels(conv: nn.Conv2d, gain: float) -> None:
    """Draw the kernels by fan-in, so that a convolution multiplies the variance of its input's square by ``gain``."""
    nn.init.normal_(conv.weight, std=math.sqrt(gain / conv.weight[0].numel()))


def dynamic_like(conv: nn.Conv2d, num_kernels: int, gain: float) -> DynamicConv2d:
    """Return a dynamic convolution of the geometry of ``conv`` that gets its coefficients from outside.

    With coefficients near 1/2, as they start, its mixed kernels are spread as :func:`draw_kernels` draws one.
    """
    layer = DynamicConv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        num_kernels=num_kernels,
        attention=None,
        mixing="mode",
    )
    with torch.no_grad():
        layer.weight.mul_(math.sqrt(gain / 2) * 2 / math.sqrt(num_kernels))
    return layer


class ConvChain(nn.Module):
    """Convolutions in a row, each with its BatchNorm and perhaps an activation.

    Args:
        in_channels: Channels of the input.
        convs: The convolutions.
        num_kernels: Kernels per output channel (``g_t``), mixed by coefficients that are predicted from the chain's
            input; 0 makes every convolution static.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_out, H', W')`` of the last convolution.
    """

    def __init__(self, in_channels: int, convs: Sequence[Conv], num_kernels: int):
        super().__init__()
        if num_kernels < 0:
            raise ArgumentError("num_kernels", num_kernels, "at least 1, or 0 for static kernels")
        widths = [conv.out_channels for conv in convs]
        self.coefficients = BlockCoefficients(in_channels, widths, num_kernels) if num_kernels else None
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, conv in zip([in_channels, *widths], convs):
            size, stride, groups = conv.kernel_size, conv.stride, conv.groups
            layer = nn.Conv2d(before, conv.out_channels, size, stride, size // 2, groups=groups, bias=False)
            gain = 2 if conv.act else 1  # He's rule: an activation halves what follows
            draw_kernels(layer, gain)
            self.convs.append(dynamic_like(layer, num_kernels, gain) if num_kernels else layer)
            act = conv.act(inplace=True) if conv.act else nn.Identity()
            self.norms.append(nn.Sequential(nn.BatchNorm2d(conv.out_channels), act))

    def forward(self, x: Tensor) -> Tensor:
        """Run the chain."""
        if self.coefficients is None:
            for conv, norm in zip(self.convs, self.norms):
                x = norm(conv(x))
            return x
        coefficients = self.coefficients(x)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = norm(conv(x, coefficients[i]))
        return x
