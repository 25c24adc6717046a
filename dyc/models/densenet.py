"""DenseNet with bottleneck layers for 32x32 images, 40 and 100 layers deep, static and with selective channels.

Huang et al., Densely Connected Convolutional Networks, https://arxiv.org/abs/1608.06993, in the form that SelectConv
(Jeong & Shin, http://proceedings.mlr.press/v97/jeong19c.html) trains: growth rate 12, a stem of 24 channels, three
stages of 6 or of 16 layers with average pooling between them, and no compression, so that a transition has neither norm
nor convolution. For 10 classes this gives 211,978 and 995,698 parameters (the paper's 0.21M and 1.00M). These sizes
stand beside the names of the networks, at the end of this file.

In the ``select_*`` networks every convolution but the stem can close input channels, and the 1x1 convolutions can
re-use them. ``select_densenet121`` is timm's DenseNet-121 treated likewise, the 1x1 convolutions of its transitions
included: for ImageNet the paper does not say which layers are selective.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from dyc.models.preactivation import PreActivationNetwork
from dyc.models.registration import cifar10_cfg, imagenet_cfg, register
from dyc.models.selective_form import Selection, selective
from ops import ArgumentError


class DenseLayer(nn.Module):
    """BatchNorm, ReLU, 1x1 convolution, BatchNorm, ReLU, 3x3 convolution, whose result joins the input's channels.

    Args:
        in_channels: Channels of the input.
        growth: Channels that the layer adds.
        bottleneck: Channels between the convolutions over ``growth``.
        groups: Groups of the 3x3 convolution, of channels that follow each other.
        drop_rate: Dropout before the 1x1 convolution.
        kwargs: ``device`` and ``dtype``.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_in + growth, H, W)``.
    """

    def __init__(
        self, in_channels: int, growth: int, bottleneck: int = 4, groups: int = 1, drop_rate: float = 0.0, **kwargs
    ):
        super().__init__()
        middle = bottleneck * growth
        self.norm1 = nn.BatchNorm2d(in_channels, **kwargs)
        self.act1 = nn.ReLU(inplace=True)
        self.drop1 = nn.Dropout(drop_rate) if drop_rate else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, middle, 1, bias=False, **kwargs)
        self.norm2 = nn.BatchNorm2d(middle, **kwargs)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(middle, growth, 3, padding=1, groups=groups, bias=False, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Append the layer's channels to those of ``x``."""
        y = self.conv1(self.drop1(self.act1(self.norm1(x))))
        return torch.cat((x, self.conv2(self.act2(self.norm2(y)))), 1)


class DenseNet(PreActivationNetwork):
    """DenseNet for small images.

    Args:
        layers: Dense layers of each stage.
        growth: Channels that a layer adds, one number or one for each stage.
        bottleneck: Channels between a layer's convolutions over ``growth``.
        groups: Groups of the 3x3 convolutions.
        layer_drop_rate: Dropout before the 1x1 convolutions.
        stem_channels: Channels of the stem; twice the first stage's growth unless given.
        device: Device of the weights.
        dtype: Type of the weights.
        kwargs: As :class:`PreActivationNetwork`: ``stem_stride`` (1 for 32x32 images, 2 for 64x64), ``num_classes``,
            ``in_chans``, ``drop_rate``, ``global_pool``.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        layers: Sequence[int] = (6, 6, 6),
        growth: int | Sequence[int] = 12,
        bottleneck: int = 4,
        groups: int = 1,
        layer_drop_rate: float = 0.0,
        stem_channels: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs,
    ):
        rates = (growth,) * len(layers) if isinstance(growth, int) else tuple(growth)
        if len(rates) != len(layers):
            raise ArgumentError("growth", rates, f"one number, or one for each of {len(layers)} stages")
        place = {"device": device, "dtype": dtype}
        channels = stem_channels = 2 * rates[0] if stem_channels is None else stem_channels
        stages, widths = [], []
        for count, rate in zip(layers, rates):
            stage = [nn.AvgPool2d(2)] if stages else []
            for _ in range(count):
                stage.append(DenseLayer(channels, rate, bottleneck, groups, layer_drop_rate, **place))
                channels += rate
            stages.append(nn.Sequential(*stage))
            widths.append(channels)
        super().__init__(stages, widths, stem_channels=stem_channels, **place, **kwargs)


# Layers of each stage, and channels that each of them adds (growth); the stem has twice as many, here 24.
DENSENET40 = partial(DenseNet, layers=(6, 6, 6), growth=12)
DENSENET100 = partial(DenseNet, layers=(16, 16, 16), growth=12)

VARIANTS = {
    "densenet40": (DENSENET40, "DenseNet-40 for 32x32 images."),
    "densenet100": (DENSENET100, "DenseNet-100 for 32x32 images."),
    "select_densenet40": (selective(DENSENET40, Selection()), "DenseNet-40 with selective channels."),
    "select_densenet100": (selective(DENSENET100, Selection()), "DenseNet-100 with selective channels."),
}
IMAGENET_VARIANTS = {
    "select_densenet121": (
        selective("densenet121", Selection()),  # growth 32, a stem of 64, stages of 6, 12, 24 and 16 layers
        "timm's DenseNet-121 for ImageNet with selective channels.",
    ),
}

default_cfgs = {name: cifar10_cfg() for name in VARIANTS}
default_cfgs |= {name: imagenet_cfg("features.conv0", "classifier") for name in IMAGENET_VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2), feature_cls="list")
register(__name__, IMAGENET_VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list")
