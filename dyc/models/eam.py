"""EAM-DyNet: MobileNetV1, V2 and V3 with every convolution but the stem dynamic, and an efficient attention.

Ding et al., Appl. Sci. 2021, 11(7), 3111, https://doi.org/10.3390/app11073111. Sizes are those behind the parameters
and FLOPs that the paper prints, for 100 classes and 224 px, the defaults of these networks. ``eam_*`` selects random
channels (RCR), ``eam_*_cgr`` and ``eam_*_cgr_max`` groups of channels; ``select``, ``channels``, ``quarter``,
``pool_size`` and ``pool`` are model arguments that choose the other forms. ``gap_*`` are the paper's baselines, which
it calls DyNet: attention after global average pooling, without biases.

The first block of its MobileNetV2 has a 1x1 expansion, 32 to 32 channels, unlike other implementations. Which layers
of MobileNetV3 are dynamic is not known: here all but stem and classifier, squeeze-and-excitation left as it is.
"""

from functools import partial

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from dyc.layers.kinds import check_attention
from dyc.models.arguments import Argument, offers, parameters
from dyc.models.dynamic_form import Recipe, dynamic
from dyc.models.mobilenetv1 import mobilenetv1
from dyc.models.registration import Builder, imagenet_cfg, made_from, register, static_builder
from ops import ArgumentError

SELECTION = ("select", "channels", "quarter", "resample", "seed", "pool_size", "pool", "normalizer")
"""Arguments of the attention that are model arguments too."""


STAGES = (
    "ir_r1_k3_s1_e1_c16 ir_r2_k3_s2_e6_c24 ir_r3_k3_s2_e6_c32 ir_r4_k3_s2_e6_c64 "
    "ir_r3_k3_s1_e6_c96 ir_r3_k3_s2_e6_c160 ir_r1_k3_s1_e6_c320"
)
"""MobileNetV2's stages in timm's words: blocks (r), kernel size (k), stride (s), expansion (e), channels (c)."""


@offers({}, EfficientNet, fixed=("act_layer",))
def mobilenetv2(**kwargs) -> EfficientNet:
    """Build a static MobileNetV2 (https://arxiv.org/abs/1801.04381) whose first block expands too."""
    return EfficientNet(decode_arch_def([[stage] for stage in STAGES.split()]), act_layer=nn.ReLU6, **kwargs)


def with_arguments(network: Builder | str, recipe: Recipe) -> Builder:
    """Return a builder of the dynamic network that takes the family's own arguments beside timm's.

    Those of the selection go to ``attention_kwargs``. ``stem_stride=1`` (2 by default) keeps the resolution of images
    as small as CIFAR's in the first convolution.
    """
    build = static_builder(network)

    @offers({"stem_stride": Argument("stem_stride", "int", 2)}, network)
    def static(stem_stride: int = 2, **kwargs) -> nn.Module:
        if stem_stride not in (1, 2):
            raise ArgumentError("stem_stride", repr(stem_stride), "1 or 2")
        model = build(**kwargs)
        model.conv_stem.stride = (stem_stride, stem_stride)
        for info in model.feature_info:
            info["reduction"] = info["reduction"] * stem_stride // 2
        return model

    build_dynamic = dynamic(static, recipe)

    kind = parameters(check_attention(recipe.attention), **recipe.attention_kwargs)

    @offers({name: kind[name] for name in SELECTION if name in kind}, build_dynamic)
    def selecting(attention_kwargs: dict | None = None, **kwargs) -> nn.Module:
        chosen = {name: kwargs.pop(name) for name in SELECTION if name in kwargs}
        return build_dynamic(attention_kwargs={**(attention_kwargs or {}), **chosen}, **kwargs)

    return made_from(network, selecting)


WHERE = r"^(blocks\.(?!.*\.se\.)|conv_head$)"  # all but stem and squeeze-and-excitation

GAP = (
    Recipe("dy", WHERE, attention_kwargs={"rd_extra": 0, "fc2_bias": False, "mirror": True}),
    "the attention of EAM-DyNet's baseline",
)
RCR = (
    Recipe("eam", WHERE, attention_kwargs={"select": "rcr"}),
    "EAM-DyNet's random channel reduction (RCR)",
)
CGR = (
    Recipe("eam", WHERE, attention_kwargs={"select": "cgr"}),
    "EAM-DyNet's channel group reduction (CGR)",
)
CGR_MAX = (
    Recipe("eam", WHERE, attention_kwargs={"select": "cgr_max"}),
    "EAM-DyNet's channel group reduction by the maximum (CGR-MAX)",
)

# The static network's name in the docstring, what builds it (or its name in timm), and the attention.
NETWORKS = {
    "gap_mobilenetv1": ("mobilenetv1", partial(mobilenetv1, 1.0), GAP),
    "eam_mobilenetv1": ("mobilenetv1", partial(mobilenetv1, 1.0), RCR),
    "eam_mobilenetv1_cgr": ("mobilenetv1", partial(mobilenetv1, 1.0), CGR),
    "eam_mobilenetv1_cgr_max": ("mobilenetv1", partial(mobilenetv1, 1.0), CGR_MAX),
    "gap_mobilenetv1_075": ("mobilenetv1", partial(mobilenetv1, 0.75), GAP),
    "eam_mobilenetv1_075": ("mobilenetv1", partial(mobilenetv1, 0.75), RCR),
    "eam_mobilenetv1_cgr_075": ("mobilenetv1", partial(mobilenetv1, 0.75), CGR),
    "eam_mobilenetv1_cgr_max_075": ("mobilenetv1", partial(mobilenetv1, 0.75), CGR_MAX),
    "gap_mobilenetv1_050": ("mobilenetv1", partial(mobilenetv1, 0.5), GAP),
    "eam_mobilenetv1_050": ("mobilenetv1", partial(mobilenetv1, 0.5), RCR),
    "eam_mobilenetv1_cgr_050": ("mobilenetv1", partial(mobilenetv1, 0.5), CGR),
    "eam_mobilenetv1_cgr_max_050": ("mobilenetv1", partial(mobilenetv1, 0.5), CGR_MAX),
    "gap_mobilenetv1_025": ("mobilenetv1", partial(mobilenetv1, 0.25), GAP),
    "eam_mobilenetv1_025": ("mobilenetv1", partial(mobilenetv1, 0.25), RCR),
    "eam_mobilenetv1_cgr_025": ("mobilenetv1", partial(mobilenetv1, 0.25), CGR),
    "eam_mobilenetv1_cgr_max_025": ("mobilenetv1", partial(mobilenetv1, 0.25), CGR_MAX),
    "gap_mobilenetv2": ("mobilenetv2", mobilenetv2, GAP),
    "eam_mobilenetv2": ("mobilenetv2", mobilenetv2, RCR),
    "eam_mobilenetv2_cgr": ("mobilenetv2", mobilenetv2, CGR),
    "eam_mobilenetv2_cgr_max": ("mobilenetv2", mobilenetv2, CGR_MAX),
    "gap_mobilenetv3_small": ("mobilenetv3", "mobilenetv3_small_100", GAP),
    "eam_mobilenetv3_small": ("mobilenetv3", "mobilenetv3_small_100", RCR),
    "eam_mobilenetv3_small_cgr": ("mobilenetv3", "mobilenetv3_small_100", CGR),
    "eam_mobilenetv3_small_cgr_max": ("mobilenetv3", "mobilenetv3_small_100", CGR_MAX),
    "gap_mobilenetv3_large": ("mobilenetv3", "mobilenetv3_large_100", GAP),
    "eam_mobilenetv3_large": ("mobilenetv3", "mobilenetv3_large_100", RCR),
    "eam_mobilenetv3_large_cgr": ("mobilenetv3", "mobilenetv3_large_100", CGR),
    "eam_mobilenetv3_large_cgr_max": ("mobilenetv3", "mobilenetv3_large_100", CGR_MAX),
}

VARIANTS = {
    name: (with_arguments(static, recipe), f"{network} with {attention}, for 100 classes at 224 px.")
    for name, (network, static, (recipe, attention)) in NETWORKS.items()
}

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") | {"num_classes": 100} for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4))
