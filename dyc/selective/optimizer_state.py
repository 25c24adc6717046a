"""What an optimiser remembers of channels that are re-used: averages are zeroed, anchors follow the new values."""

import warnings

import torch
from torch import Tensor

from dyc.layers.selective_conv import SelectiveConv2d

ANCHORS = frozenset(("x0", "p0", "z", "lookahead_slow_buff", "slow_buffer"))
"""State that holds earlier values of a parameter: MADGRAD, D-Adaptation and Prodigy, schedule-free, Lookahead."""

MEMORIES = frozenset(
    (
        "acc_delta",
        "exp_avg",
        "exp_avg_diff",
        "exp_avg_slow",
        "exp_avg_sq",
        "exp_avg_sum",
        "exp_avg_var",
        "exp_hessian_diag_sq",
        "exp_inf",
        "grad_avg",
        "grad_sum",
        "grad_sum_sq",
        "last_grad",
        "max_exp_avg_sq",
        "momentum",
        "momentum_buffer",
        "neg_pre_grad",
        "previous_grad",
        "s",
        "square_avg",
        "sum",
    )
)
"""State that sums up gradients of the past, in PyTorch's and timm's optimisers."""


def _wrapped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser that holds the state: wrappers such as timm's Lookahead keep theirs in the inner one."""
    while hasattr(optimizer, "_base_optimizer"):
        optimizer = optimizer._base_optimizer
    return optimizer


@torch.no_grad()
def forget_channels(optimizer: torch.optim.Optimizer, layer: SelectiveConv2d, slots: Tensor) -> None:
    """Let an optimiser forget what it knows of re-used channels of a layer, whose parameters are already new.

    Args:
        optimizer: Any; state of a kind that is not known stays as it is, with a warning that names it.
        layer: The layer.
        slots: The channels, ``(n,)`` int64: columns of the weight, entries of the norm and rows of the shift.
    """
    if not slots.shape[0]:
        return
    state = _wrapped(optimizer).state
    unknown = set()
    for parameter, dim in ((layer.conv.weight, 1), (layer.norm.weight, 0), (layer.norm.bias, 0), (layer.shift, 0)):
        for name, value in state.get(parameter, {}).items() if parameter is not None else ():
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue  # a step count; factored state mixes channels
            if name in MEMORIES:
                value.index_fill_(dim, slots, 0)
            elif name in ANCHORS:
                value.index_copy_(dim, slots, parameter.index_select(dim, slots).to(value.dtype))
            else:
                unknown.add(name)
    if unknown:
        kind = type(optimizer).__name__
        warnings.warn(
            f"{kind} keeps {', '.join(sorted(unknown))} for re-used channels: it is not known what that is",
            stacklevel=2,
        )
