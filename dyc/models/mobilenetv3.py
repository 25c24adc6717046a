"""MobileNetV3 for ImageNet, small and large, with dynamic convolutions.

Dynamic Convolution, https://arxiv.org/abs/1912.03458, puts dynamic convolutions in place of the blocks' own and keeps
their squeeze-and-excitation; stem, head and classifier stay static. The last stage, a 1x1 convolution without a block
around it, is MobileNetV2's head moved before the pooling, so it stays static too; ``dynamic_head=True`` makes it and
the 1x1 convolution after the pooling dynamic. DYC (Jung, Dynamic Channel-wise Convolution, 2020) was published for
MobileNetV2 only, where the depthwise convolutions at 1/16 and 1/32 of an ImageNet image's resolution are dynamic; the
same rule chooses the layers here, most of them 5x5.

The static networks are timm's ``mobilenetv3_*_100`` (https://arxiv.org/abs/1905.02244).
"""

from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register, timm_builder

# Stages with blocks, and those of them at 1/16 and 1/32 of the resolution; the one that follows is a 1x1 convolution.
STAGES = {"small": ("[0-4]", "[2-4]", 5), "large": ("[0-5]", "[3-5]", 6)}


def _recipes(size: str) -> dict[str, Recipe]:
    blocks, late, last = STAGES[size]
    head = rf"^conv_head$|^blocks\.{last}\."
    return {
        "dy": Recipe("dy", rf"^blocks\.{blocks}\..*conv_(pw|dw|pwl)$", head, {"rd_extra": 0, "fc1_bias": True}),
        "dyc": Recipe("dyc", rf"^blocks\.{late}\..*conv_dw$", head),
    }


VARIANTS = {
    f"{kind}_mobilenetv3_{size}{suffix}": (size, recipe)
    for size in STAGES
    for kind, recipe in _recipes(size).items()
    for suffix in ("", "_100")
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") for name in VARIANTS}

for _name, (_size, _recipe) in VARIANTS.items():
    register(
        __name__,
        _name,
        dynamic_builder(timm_builder(f"mobilenetv3_{_size}_100"), _recipe),
        f"MobileNetV3-{_size.capitalize()} with {_recipe.attention.upper()} convolutions, for ImageNet.",
        out_indices=(0, 1, 2, 3, 4),
        feature_cls="list",
    )
