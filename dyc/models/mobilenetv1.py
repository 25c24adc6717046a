"""MobileNetV1 for ImageNet, with dynamic channel-wise convolutions.

DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for MobileNetV2 only, where the depthwise
convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic; the same rule chooses the layers here.

The static network (https://arxiv.org/abs/1704.04861) is built by timm, of whose ``mobilenetv1_100`` it has the sizes.
"""

from functools import partial

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from torch import nn

from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register


def mobilenetv1(width: float, **kwargs) -> EfficientNet:
    """Build a static MobileNetV1 (https://arxiv.org/abs/1704.04861) with ReLU and ``width`` times the channels."""
    stages = "dsa_r1_k3_s1_c64 dsa_r2_k3_s2_c128 dsa_r2_k3_s2_c256 dsa_r6_k3_s2_c512 dsa_r2_k3_s2_c1024"
    blocks = decode_arch_def([[stage] for stage in stages.split()])
    channels = partial(round_channels, multiplier=width)
    return EfficientNet(blocks, num_features=0, round_chs_fn=channels, act_layer=nn.ReLU, **kwargs)


DYC = Recipe("dyc", r"^blocks\.[34]\..*conv_dw$")

WIDTHS = {"": 1.0, "_100": 1.0, "_075": 0.75, "_050": 0.5, "_025": 0.25}

default_cfgs = {f"dyc_mobilenetv1{suffix}": imagenet_cfg("conv_stem", "classifier") for suffix in WIDTHS}

for _suffix, _width in WIDTHS.items():
    register(
        __name__,
        f"dyc_mobilenetv1{_suffix}",
        dynamic_builder(partial(mobilenetv1, _width), DYC),
        f"MobileNetV1 x{_width:g} with DYC convolutions, for ImageNet.",
        out_indices=(0, 1, 2, 3, 4),
        feature_cls="list",
    )
