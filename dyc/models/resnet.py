"""ResNet-10, 18 and 50 and ResNeXt-50 for ImageNet, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458: every convolution on the main path of the blocks is dynamic;
the stem, the 1x1 shortcuts and the classifier are static, which is the closest fit to the size that the paper prints.
``dynamic_shortcut=True`` makes the shortcuts dynamic too, as later papers count (45.47M parameters for ResNet-18).
ResNet-10 has one basic block per stage.

DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for MobileNetV2 only, where the depthwise
convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic. What is dynamic in a residual network is
therefore a choice of ours: the spatial filters there, that is the 3x3 convolutions of the last two stages, grouped in
ResNeXt. ``dynamic_shortcut=True`` adds the shortcuts of all stages.

The static networks are timm's (https://arxiv.org/abs/1512.03385, https://arxiv.org/abs/1611.05431).
"""

from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register, timm_builder

SHORTCUT = r"\.downsample\."
DY = Recipe("dy", r"^layer\d\.\d\.conv\d$", "", {"rd_extra": 0, "fc1_bias": True}, SHORTCUT)
DYC_BASIC = Recipe("dyc", r"^layer[34]\.\d\.conv[12]$", shortcut=SHORTCUT)
DYC_BOTTLENECK = Recipe("dyc", r"^layer[34]\.\d\.conv2$", shortcut=SHORTCUT)

RESNET10 = timm_builder("resnet18", layers=(1, 1, 1, 1))

VARIANTS = {
    "dy_resnet10": (RESNET10, DY),
    "dy_resnet18": (timm_builder("resnet18"), DY),
    "dy_resnet50": (timm_builder("resnet50"), DY),
    "dyc_resnet10": (RESNET10, DYC_BASIC),
    "dyc_resnet18": (timm_builder("resnet18"), DYC_BASIC),
    "dyc_resnet50": (timm_builder("resnet50"), DYC_BOTTLENECK),
    "dyc_resnext50_32x4d": (timm_builder("resnext50_32x4d"), DYC_BOTTLENECK),
}

default_cfgs = {name: imagenet_cfg("conv1", "fc") for name in VARIANTS}

for _name, (_static, _recipe) in VARIANTS.items():
    register(
        __name__,
        _name,
        dynamic_builder(_static, _recipe),
        f"{_name.split('_')[1]} with {_recipe.attention.upper()} convolutions, for ImageNet.",
        out_indices=(0, 1, 2, 3, 4),
        feature_cls="list",
        flatten_sequential=False,
    )
