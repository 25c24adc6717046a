"""What ``torch.utils.flop_counter.FlopCounterMode`` counts for our operators.

Two operations for each multiplication with an addition, as for PyTorch's own. Re-wired channels count nothing, as
``F.grid_sample`` does. Operators that one backend alone has are registered in its own folder.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch.utils.flop_counter import register_flop_formula

import ops.backends.library  # noqa: F401  (defines the operators)

Shape = Sequence[int]


def convolution(output: Shape, kernel: Shape) -> int:
    """Count a depthwise convolution, forward or either gradient: one product for each output pixel and tap."""
    return 2 * prod(output) * prod(kernel)


@register_flop_formula(torch.ops.dyc.depthwise)
def forward(x: Shape, weight: Shape, *_, out_shape: Shape, **__) -> int:
    """Count a convolution with ``(..., kH, kW)`` kernels."""
    return convolution(out_shape, weight[2:])


@register_flop_formula(torch.ops.dyc.depthwise_grad_input)
def _(grad, weight, *_, **__) -> int:
    return convolution(grad, weight[2:])


@register_flop_formula(torch.ops.dyc.depthwise_grad_weight)
def _(grad, x, kernel, *_, **__) -> int:
    return convolution(grad, kernel)
