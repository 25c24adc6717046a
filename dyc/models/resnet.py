"""ResNet-10, 18 and 50 and ResNeXt-50 for ImageNet, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458: every convolution on the main path of the blocks is dynamic;
the stem, the 1x1 shortcuts and the classifier are static, which is the closest fit to the size that the paper prints.
``dynamic_shortcut=True`` makes the shortcuts dynamic too, as later papers count (45.47M parameters for ResNet-18).
ResNet-10 has one basic block per stage.

DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for MobileNetV2 only, where the depthwise
convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic. What is dynamic in a residual network is
therefore a choice of ours: the spatial filters there, that is the 3x3 convolutions of the last two stages, grouped in
ResNeXt. ``dynamic_shortcut=True`` adds the shortcuts of all stages.

The static networks, with their stages and widths, are timm's (https://arxiv.org/abs/1512.03385, https://arxiv.org/abs/1611.05431).
"""

from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.registration import imagenet_cfg, register, timm_builder

SHORTCUT = r"\.downsample\."
DY = Recipe("dy", r"^layer\d\.\d\.conv\d$", "", {"rd_extra": 0, "fc1_bias": True}, SHORTCUT)
DYC_BASIC = Recipe("dyc", r"^layer[34]\.\d\.conv[12]$", shortcut=SHORTCUT)
DYC_BOTTLENECK = Recipe("dyc", r"^layer[34]\.\d\.conv2$", shortcut=SHORTCUT)

RESNET10 = timm_builder("resnet18", layers=(1, 1, 1, 1))

VARIANTS = {
    "dy_resnet10": (dynamic(RESNET10, DY), "resnet10 with DY convolutions, for ImageNet."),
    "dy_resnet18": (dynamic("resnet18", DY), "resnet18 with DY convolutions, for ImageNet."),
    "dy_resnet50": (dynamic("resnet50", DY), "resnet50 with DY convolutions, for ImageNet."),
    "dyc_resnet10": (dynamic(RESNET10, DYC_BASIC), "resnet10 with DYC convolutions, for ImageNet."),
    "dyc_resnet18": (dynamic("resnet18", DYC_BASIC), "resnet18 with DYC convolutions, for ImageNet."),
    "dyc_resnet50": (dynamic("resnet50", DYC_BOTTLENECK), "resnet50 with DYC convolutions, for ImageNet."),
    "dyc_resnext50_32x4d": (
        dynamic("resnext50_32x4d", DYC_BOTTLENECK),
        "resnext50 with DYC convolutions, for ImageNet.",
    ),
}

default_cfgs = {name: imagenet_cfg("conv1", "fc") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list", flatten_sequential=False)
