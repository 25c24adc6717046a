"""MobileNetV2 for ImageNet, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458, makes every convolution of the inverted residual blocks
dynamic and keeps the stem, the 1x1 head and the classifier static (11.1M parameters at width 1.0); later papers make
the head dynamic too (``dynamic_head=True``). DYC (Jung, Dynamic Channel-wise Convolution, 2020) makes the depthwise
convolutions of the last four stages dynamic; its choice, published for CIFAR, is carried over to ImageNet here.

The static network is timm's ``mobilenetv2_*`` (https://arxiv.org/abs/1801.04381).
"""

from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register, timm_builder

DY = Recipe("dy", r"^blocks\.", r"^conv_head$", {"rd_extra": 0, "fc1_bias": True})
DYC = Recipe("dyc", r"^blocks\.[3-6]\..*conv_dw$", r"^conv_head$")

WIDTHS = {"": "100", "_035": "035", "_050": "050", "_075": "075", "_100": "100", "_140": "140"}


NAMES = [f"{kind}_mobilenetv2{suffix}" for kind in ("dy", "dyc") for suffix in WIDTHS]

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in NAMES}

for _kind, _recipe in (("dy", DY), ("dyc", DYC)):
    for _suffix, _width in WIDTHS.items():
        register(
            __name__,
            f"{_kind}_mobilenetv2{_suffix}",
            dynamic_builder(timm_builder(f"mobilenetv2_{_width}"), _recipe),
            f"MobileNetV2 x{int(_width) / 100:g} with {_kind.upper()} convolutions, for ImageNet.",
            out_indices=(0, 1, 2, 3, 4),
            feature_cls="list",
        )
