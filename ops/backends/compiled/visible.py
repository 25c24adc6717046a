"""The three functions as one ``torch.library`` operator, for whoever watches the operators that run.

torch.compile does not run under a ``TorchDispatchMode``, such as ``torch.utils.flop_counter.FlopCounterMode``. There
this operator runs in its place: the mode sees it, and it computes the same sums, not compiled.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from ops.backends.flops import convolution
from ops.backends.library import LIBRARY, WINDOW
from ops.layout import laid_out
from ops.window import Pair, Window

LIBRARY.define(
    "sums_over_taps(str kind, Tensor first, Tensor second, SymInt[] size, SymInt[2] kernel,"
    f" {WINDOW}, bool channels_last) -> Tensor"
)


@torch.library.register_fake("dyc::sums_over_taps", lib=LIBRARY)
def _(kind, first, second, size, kernel, stride, padding, dilation, channels_last):
    if kind == "forward":
        size = Window(stride, padding, dilation).output_size(first.shape[2:], kernel)
    size = kernel if kind == "grad_weight" else size
    return laid_out(first.new_empty((*first.shape[:2], *size)), channels_last)


@register_flop_formula(torch.ops.dyc.sums_over_taps)
def _flops(kind, first, second, size, kernel, *_, out_shape, **__) -> int:
    return convolution(out_shape if kind == "forward" else first, kernel)


def is_watched() -> bool:
    """Tell whether a dispatch mode sees the operators that run."""
    return not torch.compiler.is_compiling() and torch._C._len_torch_dispatch_stack() > 0


def implement(compute: Callable[..., Tensor]) -> None:
    """Let ``compute(kind, first, second, size, kernel, window, channels_last)`` be what the operator does."""

    def run(kind, first, second, size, kernel, stride, padding, dilation, channels_last):
        window = Window(tuple(stride), tuple(padding), tuple(dilation))
        return compute(kind, first, second, tuple(size), tuple(kernel), window, channels_last)

    for device in ("cpu", "cuda"):
        torch.library.impl("dyc::sums_over_taps", device, run, lib=LIBRARY)


def call(
    kind: str, first: Tensor, second: Tensor, size: tuple[int, ...], kernel: Pair, window: Window, channels_last: bool
) -> Tensor:
    """Call the operator."""
    return torch.ops.dyc.sums_over_taps(kind, first, second, size, kernel, *window, channels_last)
