"""Dynamic convolution for timm users: layers, conversion of any convolution, and registered networks.

``import dyc`` registers the networks with timm, so that ``timm.create_model("dyc_mobilenetv2")`` works.
"""

# ruff: noqa: E402
from dyc.own_packages import check_packages, warn_of_others

warn_of_others("lightning_modules")
check_packages("ops")  # before anything imports it

from dyc import converted, models
from dyc.analysis import attention_statistics
from dyc.conversion.convert import make_dynamic
from dyc.conversion.layer_table import dynamic_layers
from dyc.counting.profile import profile
from dyc.create import create_dynamic, create_selective
from dyc.dynamic_model import iter_dynamic, set_backend, set_mixing, set_temperature
from dyc.layers import (
    Attention,
    BlockCoefficients,
    DynamicConv2d,
    DynamicConv2dSame,
    GlobalAttention,
    KernelAttention,
    SelectiveConv2d,
    register_attention,
)
from dyc.segmentation import described  # noqa: F401  (registers what a folder of weights names)
from dyc.selective import (
    apply_rewiring,
    compact,
    iter_selective,
    make_selective,
    plan_rewiring,
    rewire,
    selective_layers,
)

__version__ = "0.1.0"

__all__ = [
    "Attention",
    "BlockCoefficients",
    "DynamicConv2d",
    "DynamicConv2dSame",
    "GlobalAttention",
    "KernelAttention",
    "SelectiveConv2d",
    "apply_rewiring",
    "attention_statistics",
    "compact",
    "converted",
    "create_dynamic",
    "create_selective",
    "dynamic_layers",
    "iter_dynamic",
    "iter_selective",
    "make_dynamic",
    "make_selective",
    "models",
    "plan_rewiring",
    "profile",
    "register_attention",
    "rewire",
    "selective_layers",
    "set_backend",
    "set_mixing",
    "set_temperature",
]
