"""The dynamic convolution layer and the attention branches that mix its kernels."""

from dyc.layers.attention import Attention, GlobalAttention
from dyc.layers.coefficients import BlockCoefficients
from dyc.layers.dynamic_conv import DynamicConv2d
from dyc.layers.kinds import attention_kinds, build_attention, register_attention

__all__ = [
    "Attention",
    "BlockCoefficients",
    "DynamicConv2d",
    "GlobalAttention",
    "attention_kinds",
    "build_attention",
    "register_attention",
]
