"""ResNeXt-29 (8x64d) with pre-activation for 32x32 images, static and with selective channels.

Xie et al., Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431, in the form
that SelectConv (Jeong & Shin, http://proceedings.mlr.press/v97/jeong19c.html) trains: three stages of three bottlenecks
with 8 groups in the 3x3 convolution, pre-activation, average pooling between the stages and shortcuts padded with
zeros, as in the ResNets of :mod:`dyc.models.preresnet`. With a stem of 64 channels and 10 classes this gives 33,751,370
parameters (the paper's 33.8M); with convolutions in its shortcuts ResNeXt has 34.4M.

In ``select_resnext29_8x64d`` the 1x1 convolutions can close and re-use input channels; the grouped ones are static.
"""

from functools import partial

from dyc.models.preresnet import PreResNet
from dyc.models.registration import cifar10_cfg, register
from dyc.models.selective_form import Selection, selective

# Bottlenecks and planes of each stage, which has four times as many channels as planes; channels of the stem.
RESNEXT29 = partial(PreResNet, layers=(3, 3, 3), planes=(64, 128, 256), groups=8, stem_channels=64)
SELECTIVE = selective(RESNEXT29, Selection(r"\.conv[13]$"))

VARIANTS = {
    "resnext29_8x64d": (RESNEXT29, "ResNeXt-29 (8x64d) with pre-activation for 32x32 images."),
    "select_resnext29_8x64d": (SELECTIVE, "ResNeXt-29 (8x64d) with selective channels."),
}

default_cfgs = {name: cifar10_cfg() for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2), feature_cls="list")
