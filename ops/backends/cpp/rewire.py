"""The C++ form of :func:`ops.rewire_channels`: its ``torch.library`` operators, compiled at first use."""

import warnings

import torch
from torch import Tensor

from ops.backends.cpp.backend import DTYPES, MISSING, load
from ops.backends.library import LIBRARY, memory_format
from ops.checks import transformed
from ops.errors import BackendUnavailable

LIBRARY.define("rewire(Tensor x, Tensor slots, Tensor sources, Tensor shift) -> Tensor")
LIBRARY.define(
    "rewire_backward(Tensor grad, Tensor slots, Tensor sources, Tensor shift, Tensor kept, Tensor rows, bool[2] needs)"
    " -> (Tensor, Tensor)"
)

_OUTCOME: list[tuple[str, ...]] = []  # of the one attempt to compile


@torch.library.register_fake("dyc::rewire", lib=LIBRARY)
def _(x, slots, sources, shift):
    return x.new_empty(x.shape).contiguous(memory_format=memory_format(x))


@torch.library.register_fake("dyc::rewire_backward", lib=LIBRARY)
def _(grad, slots, sources, shift, kept, rows, needs):
    gx = grad.new_empty(grad.shape).contiguous(memory_format=memory_format(grad)) if needs[0] else None
    return gx, shift.new_empty(shift.shape) if needs[1] else None


def unmet(x: Tensor) -> tuple[str, ...]:
    """Return why the C++ code cannot run on these features, each as "got ..., need ..."; empty if it can."""
    reasons = [*MISSING]
    if x.device.type != "cpu":
        reasons.append(f"got device {x.device.type}, need cpu")
    if x.dtype not in DTYPES:
        reasons.append(f"got {x.dtype}, need float32 or bfloat16")
    if not torch.compiler.is_compiling() and transformed():
        reasons.append("got torch.func or forward-mode differentiation, need none")
    return tuple(reasons)


@torch.compiler.assume_constant_result
def failure() -> tuple[str, ...]:
    """Compile and load the code at its first use, while tracing too, and say why that failed; empty if it did not."""
    if not _OUTCOME:
        try:
            load("rewire")
            _OUTCOME.append(())
        except BackendUnavailable as error:
            _OUTCOME.append((str(error),))
            warnings.warn(f"backend 'cpp' is not available for rewire_channels: {error}", stacklevel=2)
    return _OUTCOME[0]
