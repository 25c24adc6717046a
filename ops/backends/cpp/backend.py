"""C++ for the CPU: vectors of sixteen channels (channels_last) or pixels (NCHW), on PyTorch's own threads.

Compiled at first use and kept (see :mod:`ops.backends.cpp.build`). Neither memory format is converted, batch and
channels are loops rather than groups, and arithmetic is float32 whatever is stored.
"""

import torch
from torch import Tensor

import ops.backends.library  # noqa: F401  (defines the operators that the compiled file implements)
from ops.backends.cpp.build import build, compiler, no_compiler
from ops.dispatch.problem import Pair, Problem
from ops.dispatch.registry import Backend
from ops.errors import BackendUnavailable

MISSING = () if compiler() else (no_compiler(),)
DTYPES = (torch.float32, torch.bfloat16)


def unmet(problem: Problem) -> tuple[str, ...]:
    """Return why the C++ kernels cannot run a problem."""
    reasons = []
    if problem.device != "cpu":
        reasons.append(f"got device {problem.device}, need cpu")
    if problem.dtype not in DTYPES:
        reasons.append(f"got {problem.dtype}, need float32 or bfloat16")
    if problem.transformed:
        reasons.append("got torch.func or forward-mode differentiation, need none")
    return tuple(reasons)


def load(*names: str) -> None:
    """Compile and load ``csrc/NAME.cpp``."""
    for path in build(*names):
        try:
            torch.ops.load_library(path)
        except OSError as error:
            raise BackendUnavailable(f"got a file that cannot be loaded ({error}); remove {path}") from error


def prepare() -> None:
    """Compile and load the kernels."""
    load("depthwise", "layer")


def run(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    return torch.ops.dyc.depthwise(x, weight, stride, padding, dilation)


def run_branch(x: Tensor, weight: Tensor, branch, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """Run a whole layer; see :func:`ops.attended_conv2d`."""
    return torch.ops.dyc.attended_depthwise(x, weight, *branch, stride, padding, dilation)


def can_branch(problem: Problem) -> bool:
    """Tell whether the whole layer is written for a problem."""
    return problem.channels_last and problem.dtype == torch.float32


CPP = Backend(
    "cpp",
    run,
    unmet,
    "C++ for the CPU, compiled at first use",
    MISSING,
    prepare,
    run_branch=run_branch,
    can_branch=can_branch,
)
