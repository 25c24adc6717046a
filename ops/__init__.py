"""The dynamic convolution operators: one definition, several backends.

``ops`` needs PyTorch alone. Everything a caller uses is importable from here.
"""

from ops.attended import attended_conv2d
from ops.backends import BUILT_IN
from ops.branch import GlobalBranch, branch_attention
from ops.checks import autocasts, positive_int
from ops.constant_attributes import constant_attributes, wants_constant_attributes
from ops.dispatch.backend import Backend, Implementation, Preparation
from ops.dispatch.plugins import load_entry_points
from ops.dispatch.problem import Problem
from ops.dispatch.registry import (
    BackendStatus,
    backend_lacks,
    backends,
    check_backend_name,
    mixes_kernels_alone,
    prepare_backend,
    register_backend,
    use_backend,
)
from ops.dispatch.selection import select_backend
from ops.errors import ArgumentError, BackendUnavailable, unknown_name
from ops.explanation import explain
from ops.functional import depthwise_conv2d, dynamic_conv2d, per_sample_conv2d
from ops.mixing import MIXINGS, check_mixing, mix_kernels
from ops.rewiring import rewire_channels, rewire_eager
from ops.scaled import KernelAttention, scaled_conv2d
from ops.window import IntPair, Window, padding_pair, pair

__all__ = [
    "MIXINGS",
    "ArgumentError",
    "Backend",
    "BackendStatus",
    "BackendUnavailable",
    "GlobalBranch",
    "Implementation",
    "IntPair",
    "KernelAttention",
    "Preparation",
    "Problem",
    "Window",
    "attended_conv2d",
    "autocasts",
    "backend_lacks",
    "backends",
    "branch_attention",
    "check_backend_name",
    "check_mixing",
    "constant_attributes",
    "depthwise_conv2d",
    "dynamic_conv2d",
    "explain",
    "mix_kernels",
    "mixes_kernels_alone",
    "padding_pair",
    "pair",
    "per_sample_conv2d",
    "positive_int",
    "prepare_backend",
    "register_backend",
    "rewire_channels",
    "rewire_eager",
    "scaled_conv2d",
    "select_backend",
    "unknown_name",
    "use_backend",
    "wants_constant_attributes",
]

for _backend in BUILT_IN:
    register_backend(_backend)
load_entry_points()
