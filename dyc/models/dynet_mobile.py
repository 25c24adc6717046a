"""Dy-mobile and Fix-mobile, and Dy-MobileNetV2, for ImageNet.

Zhang et al., DyNet, https://arxiv.org/abs/2004.10694. A block of Dy-mobile is a dynamic 1x1, a dynamic 3x3 with six
channels per group and a dynamic 1x1 convolution, without expansion; widths are those of MobileNetV2
(https://arxiv.org/abs/1801.04381) rounded up to multiples of six. Dy-MobileNetV2 keeps MobileNetV2's own blocks and
widths. Stem, head and classifier are static.

The publication does not draw the blocks' norms and activations, nor the numbers of blocks: they are MobileNetV2's
here, which gives the published 129M and (with coefficients and mixing) 135M multiply-adds of Dy-mobile.
"""

from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn

from dyc.models.base import stage_reductions
from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.dynet_blocks import Conv, ConvChain, with_kernels
from dyc.models.postactivation import PostActivationNetwork
from dyc.models.registration import imagenet_cfg, register

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion (MobileNetV2 only), channels, blocks and stride of each stage; the stem has 32 channels, the head 1280."""

GROUP_WIDTH = 6


def mobile_convs(in_channels: int, out_channels: int, stride: int, expansion: int) -> list[Conv]:
    """Return the convolutions of a block of Dy-mobile, which expands nothing."""
    middle = Conv(out_channels, 3, stride, out_channels // GROUP_WIDTH, nn.ReLU6)
    return [Conv(out_channels, 1, act=nn.ReLU6), middle, Conv(out_channels, 1)]


def inverted_convs(in_channels: int, out_channels: int, stride: int, expansion: int) -> list[Conv]:
    """Return the convolutions of a block of MobileNetV2; the first stage has none that expands."""
    width = in_channels * expansion
    middle = [Conv(width, 3, stride, width, nn.ReLU6), Conv(out_channels, 1)]
    return middle if expansion == 1 else [Conv(width, 1, act=nn.ReLU6), *middle]


class MobileBlock(nn.Module):
    """A chain of convolutions, with a shortcut where resolution and channels stay.

    Args:
        in_channels: Channels of the input.
        convs: The convolutions.
        num_kernels: Kernels per output channel; 0 for static ones.
        drop_path: Probability that a sample skips the chain (stochastic depth), where there is a shortcut.
    """

    def __init__(self, in_channels: int, convs: list[Conv], num_kernels: int, drop_path: float = 0.0):
        super().__init__()
        self.chain = ConvChain(in_channels, convs, num_kernels)
        self.has_shortcut = convs[-1].out_channels == in_channels and all(conv.stride == 1 for conv in convs)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/stride, W/stride)``."""
        y = self.chain(x)
        return x + self.drop_path(y) if self.has_shortcut else y


class DyNetMobile(PostActivationNetwork):
    """MobileNetV2's stages with dynamic blocks.

    Args:
        num_kernels: Kernels per output channel (``g_t``); 0 makes the network static.
        expand: Take MobileNetV2's own blocks and widths rather than those of Dy-mobile.
        drop_path_rate: Stochastic depth of the last block, rising to it from 0.
        kwargs: As :class:`PostActivationNetwork`: ``num_classes``, ``in_chans``, ``drop_rate``, ``global_pool``, ...

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(self, num_kernels: int = 6, expand: bool = False, drop_path_rate: float = 0.0, **kwargs):
        rates = iter(calculate_drop_path_rates(drop_path_rate, sum(blocks for _, _, blocks, _ in STAGES)))
        convs = inverted_convs if expand else mobile_convs
        stages, channels, widths = [], 32, []
        for expansion, width, blocks, stride in STAGES:
            width = width if expand else -(-width // GROUP_WIDTH) * GROUP_WIDTH
            stage = nn.Sequential()
            for step in (stride, *[1] * (blocks - 1)):
                stage.append(MobileBlock(channels, convs(channels, width, step, expansion), num_kernels, next(rates)))
                channels = width
            stages.append(stage)
            widths.append(width)
        reductions = stage_reductions([stride for *_, stride in STAGES], 2)
        super().__init__(stages, widths, reductions, act=nn.ReLU6, **kwargs)


FIX = with_kernels(DyNetMobile, dynamic=False)
DYC = Recipe("dyc", r"^blocks\.[3-6]\..*convs\.1$")  # the stages that DYC chose in MobileNetV2

VARIANTS = {
    "dynet_mobile_100": (with_kernels(DyNetMobile), "Dy-mobile x1.0."),
    "fix_mobile_100": (FIX, "Fix-mobile x1.0: Dy-mobile with static kernels."),
    "dyc_fix_mobile_100": (dynamic(FIX, DYC), "Fix-mobile x1.0 with DYC in its grouped convolutions."),
    "dynet_mobilenetv2_100": (with_kernels(DyNetMobile, expand=True), "Dy-MobileNetV2 x1.0."),
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list")
