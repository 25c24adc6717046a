"""The dynamic convolution operators: one definition, several backends.

``ops`` needs PyTorch alone. Everything a caller uses is importable from here.
"""

from ops import checks
from ops.attended import attended_conv2d
from ops.backends import BUILT_IN
from ops.branch import GlobalBranch, branch_attention
from ops.checks import IntPair, positive_int
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
from ops.errors import ArgumentError, BackendUnavailable, unknown_name
from ops.functional import depthwise_conv2d, dynamic_conv2d, explain, mix_kernels, per_sample_conv2d
from ops.mixing import cheaper_mixing, check_mixing, check_mixture
from ops.rewiring import rewire_channels, rewire_eager

__all__ = [
    "ArgumentError",
    "Backend",
    "BackendStatus",
    "BackendUnavailable",
    "GlobalBranch",
    "IntPair",
    "Problem",
    "attended_conv2d",
    "backends",
    "branch_attention",
    "cheaper_mixing",
    "check_backend_name",
    "check_mixing",
    "check_mixture",
    "checks",
    "depthwise_conv2d",
    "dynamic_conv2d",
    "explain",
    "mix_kernels",
    "per_sample_conv2d",
    "positive_int",
    "register_backend",
    "rewire_channels",
    "rewire_eager",
    "select_backend",
    "unknown_name",
    "use_backend",
]

for _backend in BUILT_IN:
    register_backend(_backend)
load_entry_points()
