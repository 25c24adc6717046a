"""MobileNetV1 for ImageNet, with dynamic channel-wise convolutions.

DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for MobileNetV2 only, where the depthwise
convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic; the same rule chooses the layers here.

The static network (https://arxiv.org/abs/1704.04861) is built by timm, of whose ``mobilenetv1_100`` it has the sizes
(``STAGES``).
"""

from functools import partial

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from torch import nn

from dyc.models.arguments import offers
from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.registration import imagenet_cfg, register

STAGES = "dsa_r1_k3_s1_c64 dsa_r2_k3_s2_c128 dsa_r2_k3_s2_c256 dsa_r6_k3_s2_c512 dsa_r2_k3_s2_c1024"
"""The stages in timm's words: blocks (r), kernel size (k), stride (s), channels at width 1 (c)."""


@offers({}, EfficientNet, fixed=("num_features", "round_chs_fn", "act_layer"))
def mobilenetv1(width: float, **kwargs) -> EfficientNet:
    """Build a static MobileNetV1 (https://arxiv.org/abs/1704.04861) with ReLU and ``width`` times the channels."""
    blocks = decode_arch_def([[stage] for stage in STAGES.split()])
    channels = partial(round_channels, multiplier=width)
    return EfficientNet(blocks, num_features=0, round_chs_fn=channels, act_layer=nn.ReLU, **kwargs)


DYC = Recipe("dyc", r"^blocks\.[34]\..*conv_dw$")
DYC_100, DYC_075, DYC_050, DYC_025 = (dynamic(partial(mobilenetv1, width), DYC) for width in (1.0, 0.75, 0.5, 0.25))

VARIANTS = {
    "dyc_mobilenetv1": (DYC_100, "MobileNetV1 x1 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv1_100": (DYC_100, "MobileNetV1 x1 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv1_075": (DYC_075, "MobileNetV1 x0.75 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv1_050": (DYC_050, "MobileNetV1 x0.5 with DYC convolutions, for ImageNet."),
    "dyc_mobilenetv1_025": (DYC_025, "MobileNetV1 x0.25 with DYC convolutions, for ImageNet."),
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list")
