"""Dy-shuffle and Fix-shuffle for ImageNet.

Zhang et al., DyNet, https://arxiv.org/abs/2004.10694. The networks are ShuffleNetV2 (https://arxiv.org/abs/1807.11164)
with other units: those of stride 1 keep three quarters of the channels as they are and convolve one quarter with
dynamic kernels; their 3x3 convolution has two channels per group, so that a unit costs what ShuffleNetV2's does. Units
of stride 2 keep the two equal halves, and the right one is dynamic. Stem, head, left halves and classifier are static.

A quarter of the first stage's 116 channels at width 1.0 is odd: 28 are convolved there. Counted with these choices,
Dy-shuffle x1.0 takes the published 88 and 92 million (binary) multiply-adds; x1.5 takes 168 where 171 is published.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.models.arguments import offers
from dyc.models.base import stage_reductions
from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.dynet_blocks import Conv, ConvChain, with_kernels
from dyc.models.postactivation import PostActivationNetwork
from dyc.models.registration import imagenet_cfg, register

STEM, HEAD = 24, 1024
"""Channels of stem and head."""

BLOCKS = (4, 8, 4)
"""Units of each stage."""

WIDTHS_100, WIDTHS_150 = (116, 232, 464), (176, 352, 704)
"""Channels of each stage, by width of the network in percent."""


class DownUnit(nn.Module):
    """Halve the resolution: a static left and a dynamic right branch, both on the whole input, joined and shuffled.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, half from each branch.
        num_kernels: Kernels per output channel of the right branch; 0 for static ones.
    """

    def __init__(self, in_channels: int, out_channels: int, num_kernels: int):
        super().__init__()
        half = out_channels // 2
        left = [Conv(in_channels, 3, 2, in_channels), Conv(half, 1, act=nn.ReLU)]
        right = [Conv(half, 1, act=nn.ReLU), Conv(half, 3, 2, half), Conv(half, 1, act=nn.ReLU)]
        self.left = ConvChain(in_channels, left, 0)
        self.right = ConvChain(in_channels, right, num_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/2, W/2)``."""
        return F.channel_shuffle(torch.cat((self.left(x), self.right(x)), 1), 2)


class SplitUnit(nn.Module):
    """Convolve the last quarter of the channels, keep the others, shuffle.

    Args:
        channels: Channels of input and output.
        num_kernels: Kernels per output channel; 0 for static ones.
    """

    def __init__(self, channels: int, num_kernels: int):
        super().__init__()
        right = channels // 8 * 2  # even: the 3x3 convolution takes two channels per group
        self.split = (channels - right, right)
        convs = [Conv(right, 1, act=nn.ReLU), Conv(right, 3, 1, right // 2), Conv(right, 1, act=nn.ReLU)]
        self.right = ConvChain(right, convs, num_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        kept, right = x.split(self.split, 1)
        return F.channel_shuffle(torch.cat((kept, self.right(right)), 1), 2)


@offers({}, None, fixed=("stem_channels", "head_channels"))
class DyNetShuffle(PostActivationNetwork):
    """ShuffleNetV2's stages with units that are dynamic.

    Args:
        widths: Channels of the three stages.
        num_kernels: Kernels per output channel (``g_t``); 0 makes the network static.
        drop_path_rate: Part of timm's interface; does nothing, as no unit has a shortcut to be left alone.
        kwargs: As :class:`PostActivationNetwork`: ``num_classes``, ``in_chans``, ``drop_rate``, ``global_pool``, ...

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = WIDTHS_100,
        num_kernels: int = 6,
        drop_path_rate: float = 0.0,
        **kwargs,
    ):
        stages, channels = [nn.Sequential(nn.MaxPool2d(3, 2, 1))], STEM
        for width, blocks in zip(widths, BLOCKS):
            units = [SplitUnit(width, num_kernels) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(DownUnit(channels, width, num_kernels), *units))
            channels = width
        reductions = stage_reductions((2, 2, 2, 2), 2)
        super().__init__(stages, (STEM, *widths), reductions, stem_channels=STEM, head_channels=HEAD, **kwargs)


DYC = Recipe("dyc", r"^blocks\.[23]\..*right\.convs\.1$")  # the last two stages, as in MobileNetV2

FIX_100 = with_kernels(DyNetShuffle, dynamic=False, widths=WIDTHS_100)
FIX_150 = with_kernels(DyNetShuffle, dynamic=False, widths=WIDTHS_150)

VARIANTS = {
    "dynet_shuffle_100": (with_kernels(DyNetShuffle, widths=WIDTHS_100), "Dy-shuffle x1."),
    "dynet_shuffle_150": (with_kernels(DyNetShuffle, widths=WIDTHS_150), "Dy-shuffle x1.5."),
    "fix_shuffle_100": (FIX_100, "Fix-shuffle x1: Dy-shuffle with static kernels."),
    "fix_shuffle_150": (FIX_150, "Fix-shuffle x1.5: Dy-shuffle with static kernels."),
    "dyc_fix_shuffle_100": (dynamic(FIX_100, DYC), "Fix-shuffle x1 with DYC convolutions."),
    "dyc_fix_shuffle_150": (dynamic(FIX_150, DYC), "Fix-shuffle x1.5 with DYC convolutions."),
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3), feature_cls="list")
