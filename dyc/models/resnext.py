"""ResNeXt-29 (8x64d) with pre-activation for 32x32 images.

Xie et al., Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431, in the form
that SelectConv (Jeong & Shin, http://proceedings.mlr.press/v97/jeong19c.html) trains: three stages of three bottlenecks
with 8 groups in the 3x3 convolution, pre-activation, average pooling between the stages and shortcuts padded with
zeros, as in the ResNets of :mod:`dyc.models.preresnet`. With a stem of 64 channels and 10 classes this gives 33,751,370
parameters (the paper's 33.8M); with convolutions in its shortcuts ResNeXt has 34.4M.
"""

from functools import partial

from dyc.models.preactivation import cifar10_cfg
from dyc.models.preresnet import PreResNet
from dyc.models.registration import register

VARIANTS = {
    "resnext29_8x64d": partial(PreResNet, layers=(3, 3, 3), planes=(64, 128, 256), groups=8, stem_channels=64),
}

default_cfgs = {name: cifar10_cfg() for name in VARIANTS}

for _name, _build in VARIANTS.items():
    register(
        __name__,
        _name,
        _build,
        "ResNeXt-29 (8x64d) with pre-activation for 32x32 images.",
        out_indices=(0, 1, 2),
        feature_cls="list",
    )
