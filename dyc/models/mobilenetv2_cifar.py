"""MobileNetV2 for 32x32 images, static and with DY or DYC convolutions: the networks of the DYC report.

Jung, Dynamic Channel-wise Convolution, 2020. The static network is the widely used CIFAR form of MobileNetV2
(https://arxiv.org/abs/1801.04381): stem and second stage keep the resolution, every block expands, and stride-1
blocks whose width changes have a convolution in their shortcut. Dynamic are the depthwise convolutions of the last
four stages (11 of 17 blocks); with a hidden width of C//4 + 1 and no bias in fc1 this gives the report's Table 2:
2.30M, 3.58M and 8.01M parameters and 0.09, 0.09 and 0.10 GMACs for 10 classes.
"""

from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn

from dyc.models.base import stage_reductions
from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.postactivation import PostActivationNetwork
from dyc.models.registration import cifar10_cfg, register
from ops import ArgumentError

STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of each stage; the stem has 32 channels, the head 1280."""


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (depthwise 3x3), project (1x1), add the shortcut when the resolution stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Step of the depthwise convolution in pixels.
        expansion: Width of the middle over ``in_channels``.
        drop_path: Probability that a sample skips the block (stochastic depth), where there is a shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, drop_path: float = 0.0):
        super().__init__()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        middle = in_channels * expansion
        self.conv_pw = nn.Conv2d(in_channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv_dw = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv_pwl = nn.Conv2d(middle, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.shortcut = (
                nn.Identity()
                if in_channels == out_channels
                else nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/stride, W/stride)``."""
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.act(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return y if self.shortcut is None else self.drop_path(y) + self.shortcut(x)


class MobileNetV2Cifar(PostActivationNetwork):
    """The CIFAR form of MobileNetV2.

    Args:
        num_classes: Outputs of the classifier; 0 removes it.
        stem_stride: Stride of the first convolution.
        stage2_stride: Stride of the second stage; 1, as in the author's file, gives the report's 0.09 GMACs.
        drop_path_rate: Stochastic depth of the last block, rising to it from 0.
        kwargs: As :class:`PostActivationNetwork`: ``in_chans``, ``drop_rate``, ``global_pool``, ``device``, ``dtype``.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        num_classes: int = 10,
        stem_stride: int = 1,
        stage2_stride: int = 1,
        drop_path_rate: float = 0.0,
        **kwargs,
    ):
        for name, value in (("stem_stride", stem_stride), ("stage2_stride", stage2_stride)):
            if value not in (1, 2):
                raise ArgumentError(name, value, "1 or 2")
        rates = iter(calculate_drop_path_rates(drop_path_rate, sum(blocks for _, _, blocks, _ in STAGES)))
        stages, channels, strides = [], 32, []
        for index, (expansion, width, blocks, stride) in enumerate(STAGES):
            strides.append(stage2_stride if index == 1 else stride)
            first = InvertedResidual(channels, width, strides[-1], expansion, next(rates))
            rest = [InvertedResidual(width, width, 1, expansion, next(rates)) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *rest))
            channels = width
        widths = [width for _, width, _, _ in STAGES]
        reductions = stage_reductions(strides, stem_stride)
        super().__init__(stages, widths, reductions, stem_stride=stem_stride, num_classes=num_classes, **kwargs)


WHERE = r"^blocks\.[3-6]\..*conv_dw$"
DY = Recipe("dy", WHERE, r"^conv_head$")
DYC = Recipe("dyc", WHERE, r"^conv_head$")

VARIANTS = {
    "mobilenetv2_cifar": (MobileNetV2Cifar, "Static MobileNetV2 for 32x32 images."),
    "dy_mobilenetv2_cifar": (dynamic(MobileNetV2Cifar, DY), "The report's DY-MobileNetV2."),
    "dyc_mobilenetv2_cifar": (dynamic(MobileNetV2Cifar, DYC), "The report's DYC-MobileNetV2."),
}

HALF = (0.5, 0.5, 0.5)
default_cfgs = {name: cifar10_cfg((4, 4), HALF, HALF) for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3), feature_cls="list")
