"""The dynamic convolution operators: one definition, several backends.

``ops`` needs PyTorch alone. Everything a caller uses is importable from here.
"""

from ops.attended import attended_conv2d
from ops.backends import BUILT_IN
from ops.branch import GlobalBranch, branch_attention
from ops.dispatch.plugins import load_entry_points
from ops.dispatch.problem import Problem
from ops.dispatch.registry import (
    Backend,
    BackendStatus,
    backends,
    check_backend_name,
    register_backend,
    select_backend,
    use_backend,
)
from ops.errors import ArgumentError, BackendUnavailable
from ops.functional import depthwise_conv2d, dynamic_conv2d, explain, mix_kernels, per_sample_conv2d
from ops.rewiring import rewire_channels

__all__ = [
    "ArgumentError",
    "Backend",
    "BackendStatus",
    "BackendUnavailable",
    "GlobalBranch",
    "Problem",
    "attended_conv2d",
    "backends",
    "branch_attention",
    "check_backend_name",
    "depthwise_conv2d",
    "dynamic_conv2d",
    "explain",
    "mix_kernels",
    "per_sample_conv2d",
    "register_backend",
    "rewire_channels",
    "select_backend",
    "use_backend",
]

for _backend in BUILT_IN:
    register_backend(_backend)
load_entry_points()
