"""EAM-DyNet: MobileNetV1, V2 and V3 with every convolution but the stem dynamic, and an efficient attention.

Ding et al., Appl. Sci. 2021, 11(7), 3111, https://doi.org/10.3390/app11073111. Sizes are those behind the parameters
and FLOPs that the paper prints, for 100 classes and 224 px, the defaults of these networks. ``eam_*`` selects random
channels (RCR), ``eam_*_cgr`` and ``eam_*_cgr_max`` groups of channels; ``select``, ``channels``, ``quarter``,
``pool_size`` and ``pool`` are model arguments that choose the other forms. ``gap_*`` are the paper's baselines, which
it calls DyNet: attention after global average pooling, without biases.

The first block of its MobileNetV2 has a 1x1 expansion, 32 to 32 channels, unlike other implementations. Which layers
of MobileNetV3 are dynamic is not known: here all but stem and classifier, squeeze-and-excitation left as it is.
"""

from collections.abc import Callable
from functools import partial

from timm.models import EfficientNet
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from dyc.models.mobilenetv1 import mobilenetv1
from dyc.models.registration import Recipe, dynamic_builder, imagenet_cfg, register, timm_builder
from ops import ArgumentError

SELECTION = ("select", "channels", "quarter", "resample", "seed", "pool_size", "pool", "normalizer")
"""Arguments of the attention that are model arguments too."""


def mobilenetv2(**kwargs) -> EfficientNet:
    """Build a static MobileNetV2 (https://arxiv.org/abs/1801.04381) whose first block expands too."""
    stages = (
        "ir_r1_k3_s1_e1_c16 ir_r2_k3_s2_e6_c24 ir_r3_k3_s2_e6_c32 ir_r4_k3_s2_e6_c64 "
        "ir_r3_k3_s1_e6_c96 ir_r3_k3_s2_e6_c160 ir_r1_k3_s1_e6_c320"
    )
    return EfficientNet(decode_arch_def([[stage] for stage in stages.split()]), act_layer=nn.ReLU6, **kwargs)


def with_arguments(build: Callable[..., nn.Module], recipe: Recipe) -> Callable[..., nn.Module]:
    """Return a builder of the dynamic network that takes the family's own arguments beside timm's.

    Those of the selection go to ``attention_kwargs``. ``stem_stride=1`` (2 by default) keeps the resolution of images
    as small as CIFAR's in the first convolution.
    """

    def static(stem_stride: int = 2, **kwargs) -> nn.Module:
        if stem_stride not in (1, 2):
            raise ArgumentError("stem_stride", repr(stem_stride), "1 or 2")
        model = build(**kwargs)
        model.conv_stem.stride = (stem_stride, stem_stride)
        for info in model.feature_info:
            info["reduction"] = info["reduction"] * stem_stride // 2
        return model

    dynamic = dynamic_builder(static, recipe)

    def selecting(attention_kwargs: dict | None = None, **kwargs) -> nn.Module:
        chosen = {name: kwargs.pop(name) for name in SELECTION if name in kwargs}
        return dynamic(attention_kwargs={**(attention_kwargs or {}), **chosen}, **kwargs)

    return selecting


WHERE = r"^(blocks\.(?!.*\.se\.)|conv_head$)"  # all but stem and squeeze-and-excitation
GAP = Recipe("dy", WHERE, attention_kwargs={"rd_extra": 0, "fc2_bias": False, "mirror": True})
RCR, CGR, CGR_MAX = (Recipe("eam", WHERE, attention_kwargs={"select": name}) for name in ("rcr", "cgr", "cgr_max"))
FORMS = {
    "gap": (GAP, "with the attention of EAM-DyNet's baseline"),
    "eam": (RCR, "with EAM-DyNet's random channel reduction (RCR)"),
    "cgr": (CGR, "with EAM-DyNet's channel group reduction (CGR)"),
    "cgr_max": (CGR_MAX, "with EAM-DyNet's channel group reduction by the maximum (CGR-MAX)"),
}

WIDTHS = {"": 1.0, "_075": 0.75, "_050": 0.5, "_025": 0.25}
NETWORKS = {
    **{("mobilenetv1", suffix): partial(mobilenetv1, width) for suffix, width in WIDTHS.items()},
    ("mobilenetv2", ""): mobilenetv2,
    ("mobilenetv3_small", ""): timm_builder("mobilenetv3_small_100"),
    ("mobilenetv3_large", ""): timm_builder("mobilenetv3_large_100"),
}

VARIANTS = {}
for (_network, _suffix), _static in NETWORKS.items():
    VARIANTS[f"gap_{_network}{_suffix}"] = (_static, "gap")
    VARIANTS[f"eam_{_network}{_suffix}"] = (_static, "eam")
    VARIANTS[f"eam_{_network}_cgr{_suffix}"] = (_static, "cgr")
    VARIANTS[f"eam_{_network}_cgr_max{_suffix}"] = (_static, "cgr_max")

default_cfgs = {name: imagenet_cfg("conv_stem", "classifier") | {"num_classes": 100} for name in VARIANTS}

for _name, (_static, _form) in VARIANTS.items():
    register(
        __name__,
        _name,
        with_arguments(_static, FORMS[_form][0]),
        f"{_name.split('_')[1]} {FORMS[_form][1]}, for 100 classes at 224 px.",
        out_indices=(0, 1, 2, 3, 4),
    )
