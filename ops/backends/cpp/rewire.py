"""The C++ form of :func:`ops.rewire_channels`: its ``torch.library`` operators."""

import torch
from torch import Tensor

from ops.backends.library import LIBRARY
from ops.layout import in_format_of
from ops.rewiring import check_channels

LIBRARY.define("rewire(Tensor x, Tensor slots, Tensor sources, Tensor shift) -> Tensor")
LIBRARY.define(
    "rewire_backward(Tensor grad, Tensor slots, Tensor sources, Tensor shift, Tensor kept, Tensor rows, bool[2] needs)"
    " -> (Tensor, Tensor)"
)


@torch.library.register_fake("dyc::rewire", lib=LIBRARY)
def _(x, slots, sources, shift):
    return in_format_of(x.new_empty(x.shape), x)


@torch.library.register_fake("dyc::rewire_backward", lib=LIBRARY)
def _(grad, slots, sources, shift, kept, rows, needs):
    gx = in_format_of(grad.new_empty(grad.shape), grad) if needs[0] else None
    return gx, shift.new_empty(shift.shape) if needs[1] else None


def run(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    """Replace channels by shifted copies; see :func:`ops.rewire_channels`."""
    shift = shift.to(torch.float32)
    if torch.compiler.is_compiling():
        return torch.ops.dyc.rewire(x, slots, sources, shift)
    try:
        return torch.ops.dyc.rewire(x, slots, sources, shift)
    except ValueError:  # the operator looks at all values itself, sooner than Python could
        check_channels(x.shape[1], slots.tolist(), sources.tolist())
        raise
