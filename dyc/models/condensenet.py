"""CondenseNet-182 for 32x32 images, dense, and with 1x1 convolutions that close channels in training.

Huang et al., CondenseNet, https://arxiv.org/abs/1711.09224, in the form that SelectConv (Jeong & Shin,
http://proceedings.mlr.press/v97/jeong19c.html) trains and compresses: a DenseNet of three stages of 30 layers that add
12, 24 and 48 channels, dropout of 0.1 before the 1x1 convolutions, 4 groups in the 3x3 convolutions, average pooling
between the stages and no convolution there. For 10 classes this gives 13,792,906 parameters; the paper's 3.24M are what
is left once the 1x1 convolutions of ``select_condensenet182``, which re-use none, have closed the channels that they
can do without.

CondenseNet groups its 1x1 convolutions, and permutes their outputs so that each group of the 3x3 convolution sees all
of these groups. Here a 1x1 convolution sees every channel, so its outputs are interchangeable, and group g of the 3x3
convolution takes the g-th quarter of them as they come.
"""

from functools import partial

from dyc.models.densenet import DenseNet
from dyc.models.registration import cifar10_cfg, register
from dyc.models.selective_form import Selection, selective

# Layers of each stage, and channels that each of them adds; the stem has 24, twice what the first layers add.
CONDENSENET = partial(DenseNet, layers=(30, 30, 30), growth=(12, 24, 48), groups=4, layer_drop_rate=0.1)
CLOSING = selective(CONDENSENET, Selection(r"\.conv1$", reallocate=False))

VARIANTS = {
    "condensenet182": (CONDENSENET, "CondenseNet-182 for 32x32 images, dense."),
    "select_condensenet182": (CLOSING, "CondenseNet-182 whose 1x1 convolutions close channels."),
}

default_cfgs = {name: cifar10_cfg() for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2), feature_cls="list")
