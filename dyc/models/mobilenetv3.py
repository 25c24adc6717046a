"""MobileNetV3 for ImageNet, small and large, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458, puts dynamic convolutions in place of the blocks' own and keeps
their squeeze-and-excitation; stem, head and classifier stay static. The last stage, a 1x1 convolution without a block
around it, is MobileNetV2's head moved before the pooling, so it stays static too; ``dynamic_head=True`` makes it and
the 1x1 convolution after the pooling dynamic. DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for
MobileNetV2 only, where the depthwise convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic; the
same rule chooses the layers here, most of them 5x5.

The static networks, with their stages and widths, are timm's ``mobilenetv3_*_100``
(https://arxiv.org/abs/1905.02244).
"""

from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.registration import imagenet_cfg, register

# In timm's networks the 1x1 convolution after the last block is a stage of its own, blocks.5 or blocks.6.
HEAD_SMALL, HEAD_LARGE = r"^conv_head$|^blocks\.5\.", r"^conv_head$|^blocks\.6\."
BIASES = {"rd_extra": 0, "fc1_bias": True}

DY_SMALL = dynamic("mobilenetv3_small_100", Recipe("dy", r"^blocks\.[0-4]\..*conv_(pw|dw|pwl)$", HEAD_SMALL, BIASES))
DY_LARGE = dynamic("mobilenetv3_large_100", Recipe("dy", r"^blocks\.[0-5]\..*conv_(pw|dw|pwl)$", HEAD_LARGE, BIASES))
DYC_SMALL = dynamic("mobilenetv3_small_100", Recipe("dyc", r"^blocks\.[2-4]\..*conv_dw$", HEAD_SMALL))
DYC_LARGE = dynamic("mobilenetv3_large_100", Recipe("dyc", r"^blocks\.[3-5]\..*conv_dw$", HEAD_LARGE))

VARIANTS = {
    "dy_mobilenetv3_small": (DY_SMALL, "MobileNetV3-Small with DY convolutions, for ImageNet."),
    "dy_mobilenetv3_small_100": (DY_SMALL, "MobileNetV3-Small with DY convolutions, for ImageNet."),
    "dyc_mobilenetv3_small": (DYC_SMALL, "MobileNetV3-Small with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv3_small_100": (DYC_SMALL, "MobileNetV3-Small with DYC convolutions, for ImageNet."),
    "dy_mobilenetv3_large": (DY_LARGE, "MobileNetV3-Large with DY convolutions, for ImageNet."),
    "dy_mobilenetv3_large_100": (DY_LARGE, "MobileNetV3-Large with DY convolutions, for ImageNet."),
    "dyc_mobilenetv3_large": (DYC_LARGE, "MobileNetV3-Large with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv3_large_100": (DYC_LARGE, "MobileNetV3-Large with DYC convolutions, for ImageNet."),
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list")
