"""How much each input channel contributes to each output: the expected channel damage of SelectConv.

Jeong and Shin, Training CNNs with Selective Allocation of Channels, ICML 2019,
http://proceedings.mlr.press/v97/jeong19c.html (expected channel damage matrix, ECDM).
"""

import math

import torch
from torch import Tensor

EPS = 1e-8
"""Added to scales and sums before dividing by them."""


def activity_level(offset: Tensor, scale: Tensor) -> Tensor:
    """Return the expected activation of each channel behind BatchNorm and ReLU.

    ``E[relu(y)]`` of ``y ~ N(offset, scale^2)``: ``|scale| phi(z) + offset Phi(z)`` with ``z = offset / |scale|`` and
    the density and distribution function of the standard normal.

    Args:
        offset: BatchNorm's ``bias``, ``(C,)``.
        scale: BatchNorm's ``weight``, ``(C,)``.

    Returns:
        ``(C,)``, not negative.

    Example:
        >>> activity_level(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1e-3]))
        tensor([0.3989, 2.0000])
    """
    deviation = scale.abs() + EPS
    z = offset / deviation
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    # Far below zero the two terms cancel, and rounding could leave a negative rest.
    return (deviation * density + offset * torch.special.ndtr(z)).clamp_min(0)


def channel_damage(weight: Tensor, activity: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the share of each input channel in each output: the normalised ECDM.

    ``share[o, i] = |d[o, i]| / (sum_j |d[o, j]| + 1e-8)`` with ``d[o, i] = activity[i] * weight[o, i].sum()``, the
    expected change of output ``o`` when input ``i`` is taken away.

    Args:
        weight: Kernels, ``(C_out, C_in, kH, kW)``.
        activity: Expected activation of each input channel, ``(C_in,)``.
        mask: ``(C_in,)``, False for closed channels, whose share is zero; None if all are open.

    Returns:
        ``(C_out, C_in)``; rows sum to one, or to zero where an output depends on nothing.
    """
    damage = (weight.sum((2, 3)) * activity).abs()
    if mask is not None:
        damage = damage.masked_fill(~mask, 0.0)
    return damage / (damage.sum(1, keepdim=True) + EPS)


def channel_scores(shares: Tensor) -> Tensor:
    """Return the importance of each input channel, ``(C_in,)``: the norm of its shares in all outputs."""
    return torch.linalg.vector_norm(shares, dim=0)
