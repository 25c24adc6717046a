"""C++ for the CPU: vectors of sixteen channels (channels_last) or pixels (NCHW), on PyTorch's own threads.

Compiled at first use and kept (see :mod:`ops.backends.cpp.build`). Neither memory format is converted, batch and
channels are loops rather than groups, and arithmetic is float32 whatever is stored.
"""

from functools import partial

import torch
from torch import Tensor

import ops.backends.cpp.attended  # noqa: F401  (defines the operators that the compiled files implement)
from ops.backends.cpp import rewire
from ops.backends.cpp.build import build, build_all, compiler, no_compiler
from ops.dispatch.backend import Backend, Implementation, Preparation
from ops.dispatch.operators import ATTENDED_DEPTHWISE, DEPTHWISE, REWIRE
from ops.dispatch.problem import Problem
from ops.errors import BackendUnavailable
from ops.window import Window

MISSING = () if compiler() else (no_compiler(),)
DTYPES = (torch.float32, torch.bfloat16)


def unmet(problem: Problem) -> tuple[str, ...]:
    """Return why the C++ kernels cannot run a problem."""
    return problem.unmet(("cpu",), DTYPES)


def unmet_attended(problem: Problem) -> tuple[str, ...]:
    """Return why the whole layer cannot run in one call; its parts may."""
    reasons = problem.unmet(("cpu",), (torch.float32,))
    return reasons if problem.channels_last else (*reasons, "got NCHW, need channels_last")


def load(*names: str) -> None:
    """Compile and load these libraries (see ``LIBRARIES`` in :mod:`ops.backends.cpp.build`)."""
    for path in build(*names):
        try:
            torch.ops.load_library(path)
        except OSError as error:
            raise BackendUnavailable(f"got a file that cannot be loaded ({error}); remove {path}") from error


def run_depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    return torch.ops.dyc.depthwise(x, weight, *window)


def run_attended(x: Tensor, bank: Tensor, branch, window: Window) -> Tensor:
    """Run a whole layer; see :func:`ops.attended_conv2d`."""
    return torch.ops.dyc.attended_depthwise(x, bank, *branch, *window)


CONVOLUTIONS = Preparation(partial(load, "convolutions"))

CPP = Backend(
    "cpp",
    {
        DEPTHWISE: Implementation(run_depthwise, unmet, CONVOLUTIONS),
        ATTENDED_DEPTHWISE: Implementation(run_attended, unmet_attended, CONVOLUTIONS),
        REWIRE: Implementation(rewire.run, unmet, Preparation(partial(load, "rewire"))),
    },
    summary="C++ for the CPU, compiled at first use",
    missing=MISSING,
    build=build_all,
)
