"""MobileNetV1 for ImageNet, with dynamic channel-wise convolutions.

DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for MobileNetV2 only, where the depthwise
convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic; the same rule chooses the layers here.

The static network is timm's ``mobilenetv1_100`` (https://arxiv.org/abs/1704.04861).
"""

from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register, timm_builder

DYC = Recipe("dyc", r"^blocks\.[34]\..*conv_dw$")

VARIANTS = ("dyc_mobilenetv1", "dyc_mobilenetv1_100")

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

for _name in VARIANTS:
    register(
        __name__,
        _name,
        dynamic_builder(timm_builder("mobilenetv1_100"), DYC),
        "MobileNetV1 x1 with DYC convolutions, for ImageNet.",
        out_indices=(0, 1, 2, 3, 4),
        feature_cls="list",
    )
