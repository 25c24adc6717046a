"""The dynamic convolution layer and the attention branches that mix its kernels."""

from dyc.layers import attentions
from dyc.layers.attention import Attention, GlobalAttention
from dyc.layers.coefficients import BlockCoefficients
from dyc.layers.dynamic_conv import DynamicConv2d
from dyc.layers.kinds import attention_kinds, build_attention, register_attention
from dyc.layers.masked_conv import MaskedConv2d
from dyc.layers.same import DynamicConv2dSame
from dyc.layers.selective_conv import SelectiveConv2d
from ops import KernelAttention

__all__ = [
    "Attention",
    "BlockCoefficients",
    "DynamicConv2d",
    "DynamicConv2dSame",
    "GlobalAttention",
    "KernelAttention",
    "MaskedConv2d",
    "SelectiveConv2d",
    "attention_kinds",
    "attentions",
    "build_attention",
    "register_attention",
]
