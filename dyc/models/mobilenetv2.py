"""MobileNetV2 for ImageNet, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458, makes every convolution of the inverted residual blocks
dynamic and keeps the stem, the 1x1 head and the classifier static (11.1M parameters at width 1.0); later papers make
the head dynamic too (``dynamic_head=True``). DYC (Jung, Dynamic Channel-wise Convolution, 2020) makes the depthwise
convolutions of the last four stages dynamic; its choice, published for CIFAR, is carried over to ImageNet here.

The static network, with its stages and widths, is timm's ``mobilenetv2_*`` (https://arxiv.org/abs/1801.04381).
"""

from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.registration import imagenet_cfg, register

DY = Recipe("dy", r"^blocks\.", r"^conv_head$", {"rd_extra": 0, "fc1_bias": True})
DYC = Recipe("dyc", r"^blocks\.[3-6]\..*conv_dw$", r"^conv_head$")

VARIANTS = {
    "dy_mobilenetv2": (dynamic("mobilenetv2_100", DY), "MobileNetV2 x1 with DY convolutions, for ImageNet."),
    "dy_mobilenetv2_035": (dynamic("mobilenetv2_035", DY), "MobileNetV2 x0.35 with DY convolutions, for ImageNet."),
    "dy_mobilenetv2_050": (dynamic("mobilenetv2_050", DY), "MobileNetV2 x0.5 with DY convolutions, for ImageNet."),
    "dy_mobilenetv2_075": (dynamic("mobilenetv2_075", DY), "MobileNetV2 x0.75 with DY convolutions, for ImageNet."),
    "dy_mobilenetv2_100": (dynamic("mobilenetv2_100", DY), "MobileNetV2 x1 with DY convolutions, for ImageNet."),
    "dy_mobilenetv2_140": (dynamic("mobilenetv2_140", DY), "MobileNetV2 x1.4 with DY convolutions, for ImageNet."),
    "dyc_mobilenetv2": (dynamic("mobilenetv2_100", DYC), "MobileNetV2 x1 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv2_035": (dynamic("mobilenetv2_035", DYC), "MobileNetV2 x0.35 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv2_050": (dynamic("mobilenetv2_050", DYC), "MobileNetV2 x0.5 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv2_075": (dynamic("mobilenetv2_075", DYC), "MobileNetV2 x0.75 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv2_100": (dynamic("mobilenetv2_100", DYC), "MobileNetV2 x1 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv2_140": (dynamic("mobilenetv2_140", DYC), "MobileNetV2 x1.4 with DYC convolutions, for ImageNet."),
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list")
