"""ResNets with pre-activation and without weights in their shortcuts: ResNet-164 for 32x32 images, ResNet-50.

He et al., Identity Mappings in Deep Residual Networks, https://arxiv.org/abs/1603.05027, in the form that SelectConv
(Jeong & Shin, http://proceedings.mlr.press/v97/jeong19c.html) trains: three stages of 18 bottlenecks, average pooling
between the stages for the residual and the shortcut alike, and zeros for the channels that a shortcut lacks, so that
every convolution but the stem follows a norm and a ReLU of its own. For 10 classes ResNet-164 has 1,661,274 parameters
(the paper's 1.66M).

ResNet-50 is printed there with 22.8M parameters and zero-padded shortcuts, and nothing else is said about it. Ours is
an interpretation: the usual stem of a 7x7 convolution and max pooling, stages of 3, 4, 6 and 3 bottlenecks of 64 to
512 planes, and everything else as in ResNet-164, which gives 22,780,456.

In the ``select_*`` networks every convolution but the stem can close input channels, and the 1x1 convolutions can
re-use them.
"""

from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.models.preactivation import PreActivationNetwork
from dyc.models.registration import cifar10_cfg, imagenet_cfg, register
from dyc.models.selective_form import Selection, selective


class PreActivationBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, each after BatchNorm and ReLU, and a shortcut padded with zeros.

    Args:
        in_channels: Channels of the input.
        middle: Channels of the 3x3 convolution.
        out_channels: Channels of the output, at least ``in_channels``.
        groups: Groups of the 3x3 convolution.
        drop_path: Probability that a sample skips the block (stochastic depth).
        kwargs: ``device`` and ``dtype``.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_out, H, W)``.
    """

    def __init__(
        self, in_channels: int, middle: int, out_channels: int, groups: int = 1, drop_path: float = 0.0, **kwargs
    ):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels, **kwargs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, middle, 1, bias=False, **kwargs)
        self.norm2 = nn.BatchNorm2d(middle, **kwargs)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, groups=groups, bias=False, **kwargs)
        self.norm3 = nn.BatchNorm2d(middle, **kwargs)
        self.act3 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(middle, out_channels, 1, bias=False, **kwargs)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.missing = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the padded input."""
        y = self.conv1(self.act1(self.norm1(x)))
        y = self.conv2(self.act2(self.norm2(y)))
        y = self.drop_path(self.conv3(self.act3(self.norm3(y))))
        return y + (F.pad(x, [0, 0, 0, 0, 0, self.missing]) if self.missing else x)


class PreResNet(PreActivationNetwork):
    """ResNet or ResNeXt with pre-activation bottlenecks and shortcuts without weights.

    Args:
        layers: Bottlenecks of each stage.
        planes: Channels of each stage over ``expansion``.
        expansion: Channels of a stage over its planes.
        groups: Groups of the 3x3 convolutions.
        base_width: Channels of a group for every 64 planes.
        drop_path_rate: Stochastic depth of the last block, rising to it from 0.
        stem_channels: Channels of the stem.
        device: Device of the weights.
        dtype: Type of the weights.
        kwargs: As :class:`PreActivationNetwork`: ``stem_size``, ``stem_stride`` (for small images, 1 for 32x32 and 2
            for 64x64), ``stem_pool``, ``num_classes``, ``in_chans``, ``drop_rate``, ``global_pool``.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        layers: Sequence[int] = (18, 18, 18),
        planes: Sequence[int] = (16, 32, 64),
        expansion: int = 4,
        groups: int = 1,
        base_width: int = 64,
        drop_path_rate: float = 0.0,
        stem_channels: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs,
    ):
        place = {"device": device, "dtype": dtype}
        rates = iter(calculate_drop_path_rates(drop_path_rate, sum(layers)))
        stages, channels = [], stem_channels
        widths = [expansion * count for count in planes]
        for blocks, count, width in zip(layers, planes, widths):
            middle = groups * (count * base_width // 64)
            stage = [nn.AvgPool2d(2)] if stages else []
            for _ in range(blocks):
                stage.append(PreActivationBottleneck(channels, middle, width, groups, next(rates), **place))
                channels = width
            stages.append(nn.Sequential(*stage))
        super().__init__(stages, widths, stem_channels=stem_channels, **place, **kwargs)


# Bottlenecks and planes of each stage, which has four times as many channels as planes; channels of the stem.
RESNET164 = partial(PreResNet, layers=(18, 18, 18), planes=(16, 32, 64), stem_channels=16)
RESNET50 = partial(
    PreResNet,
    layers=(3, 4, 6, 3),
    planes=(64, 128, 256, 512),
    stem_channels=64,
    stem_size=7,
    stem_stride=2,
    stem_pool=True,
    num_classes=1000,
)

VARIANTS = {
    "preresnet164": (RESNET164, "ResNet-164 with pre-activation for 32x32 images."),
    "select_preresnet164": (
        selective(RESNET164, Selection()),
        "ResNet-164 with pre-activation and selective channels.",
    ),
}
IMAGENET_VARIANTS = {
    "preresnet50": (RESNET50, "ResNet-50 with pre-activation and shortcuts without weights, for ImageNet."),
    "select_preresnet50": (
        selective(RESNET50, Selection()),
        "ResNet-50 with pre-activation and selective channels, for ImageNet.",
    ),
}

default_cfgs = {name: cifar10_cfg() for name in VARIANTS}
default_cfgs |= {name: imagenet_cfg("conv_stem", "classifier") for name in IMAGENET_VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2), feature_cls="list")
register(__name__, IMAGENET_VARIANTS, out_indices=(0, 1, 2, 3), feature_cls="list")
