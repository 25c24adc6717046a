"""Which channels to close and what to re-use them for: pure functions of tensors.

Jeong and Shin, Training CNNs with Selective Allocation of Channels, ICML 2019,
http://proceedings.mlr.press/v97/jeong19c.html (algorithms for de-allocation and re-allocation).
"""

from numbers import Integral, Real
from typing import NamedTuple

import torch
from torch import Tensor

from ops import ArgumentError

MAX_SHIFT = 1.5
"""Largest shift in pixels, along each axis, that a re-allocated channel starts with."""


class Reallocation(NamedTuple):
    """Closed channels that are re-used, and for what; ``n`` of them.

    ``slots`` ``(n,)`` are the channels; ``sources`` ``(n,)`` those whose norm they copy; ``pointers`` ``(n,)`` those
    whose features they read; ``shifts`` ``(n, 2)`` how far these are shifted, horizontally and vertically, in pixels.
    """

    slots: Tensor
    sources: Tensor
    pointers: Tensor
    shifts: Tensor


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_rule(gamma: float, num_sources: int, max_uses: int | None, soft_limit: bool = False) -> None:
    """Raise ArgumentError unless the threshold, the number of sources and the limit of their uses can be meant."""
    if not isinstance(soft_limit, bool):
        raise ArgumentError("soft_limit", repr(soft_limit), "True or False")
    if not isinstance(gamma, Real) or isinstance(gamma, bool) or not 0 <= gamma < 1:
        raise ArgumentError("gamma", repr(gamma), "a share in [0, 1), such as 0.001, that an output may lose")
    if not _is_int(num_sources) or num_sources < 0:
        raise ArgumentError("num_sources", repr(num_sources), "an int, at least 0 (0 re-uses no channel)")
    if max_uses is not None and (not _is_int(max_uses) or max_uses < 1):
        raise ArgumentError("max_uses", repr(max_uses), "an int, at least 1, or None for no limit")


def dealloc(shares: Tensor, gamma: float = 1e-3) -> Tensor:
    """Return which input channels can be closed while no output loses more than ``gamma`` of itself.

    The channels are taken in the order of their largest share; the longest prefix of which every output's shares sum
    to at most ``gamma`` is closed. Channels of share zero, such as closed ones, belong to it. If that is all of them,
    none is closed, as in the authors' code: with weights of (nearly) zero, shares say nothing, and a layer whose
    channels are all closed would have nothing left to re-use.

    Args:
        shares: Share of each input in each output, ``(C_out, C_in)``; see :func:`channel_damage`.
        gamma: Largest share of an output that may be lost.

    Returns:
        ``(C_in,)``, True for the channels to close.

    Raises:
        ArgumentError: ``shares`` is no matrix of finite numbers, or ``gamma`` is out of range.

    Example:
        >>> dealloc(torch.tensor([[0.9, 0.06, 0.04], [0.95, 0.01, 0.04]]), gamma=0.05)
        tensor([False, False,  True])
        >>> dealloc(torch.zeros(2, 3))
        tensor([False, False, False])
    """
    check_rule(gamma, 0, None)
    if shares.dim() != 2 or 0 in shares.shape or not shares.is_floating_point():
        raise ArgumentError("shares", f"shape {tuple(shares.shape)}, {shares.dtype}", "(C_out, C_in), floating point")
    if not shares.isfinite().all():
        raise ArgumentError("shares", "values that are not finite", "finite values, as channel_damage returns")
    shares = shares.double()  # sums of many small shares are compared with a small number
    order = shares.amax(0).argsort(stable=True)
    fits = (shares[:, order].cumsum(1) <= gamma).all(0)
    fits &= ~fits.all()
    return torch.empty_like(fits).scatter_(0, order, fits)


def realloc(
    scores: Tensor,
    mask: Tensor,
    pointers: Tensor,
    num_sources: int = 3,
    max_uses: int | None = None,
    generator: torch.Generator | None = None,
    *,
    soft_limit: bool = False,
) -> Reallocation:
    """Draw for every closed channel an important one to re-use it for, and a shift.

    Each slot draws one of the ``num_sources`` open channels of the highest score, with replacement. What it will read
    is that channel's own source if the channel is a copy itself. Shifts are uniform in (-1.5, 1.5) pixels.

    Args:
        scores: Importance of each channel, ``(C_in,)``; see :func:`channel_scores`.
        mask: ``(C_in,)``, True for open channels.
        pointers: ``(C_in,)``, what each channel reads, -1 for itself.
        num_sources: Channels to choose from (the publication's ``K``); 0 leaves all as it is.
        max_uses: How often the features of one channel may be read by others (its ``N_max``). When the best channels
            are used up, the next ones are taken; when all are, the rest of the closed channels stays closed.
        generator: Source of random numbers, on the device of ``scores``.
        soft_limit: Count uses as the authors' code does, once before anything is drawn: what others read more than
            ``max_uses`` times is not drawn, anything else as often as chance will have it. A channel that is read 32
            times may so be drawn again, for any number of slots. Where fewer channels than ``num_sources`` are left,
            theirs fills up with channels of score zero, closed ones included, and ours does not.

    Returns:
        A :class:`Reallocation`; empty if nothing is closed, or nothing is left to read.

    Raises:
        ArgumentError: A tensor has another shape or type, or a number is out of range.
    """
    check_rule(0.0, num_sources, max_uses, soft_limit)
    wanted = {"scores": (scores, scores.is_floating_point()), "mask": (mask, mask.dtype == torch.bool)}
    wanted["pointers"] = (pointers, pointers.dtype == torch.long)
    for name, (tensor, fits) in wanted.items():
        if tensor.shape != mask.shape or tensor.dim() != 1 or not fits:
            got = f"shape {tuple(tensor.shape)}, {tensor.dtype}"
            raise ArgumentError(name, got, "(C_in,) like the others: floating scores, bool mask, int64 pointers")
    channels, device = mask.shape[0], mask.device
    closed = (~mask).nonzero().flatten()
    roots = torch.where(pointers >= 0, pointers, torch.arange(channels, device=device))
    limit = channels if max_uses is None else max_uses
    left = limit - torch.bincount(pointers[pointers >= 0], minlength=channels)  # uses that each channel can still serve
    if soft_limit:
        left = torch.where(left < 0, 0, channels)
    ranked = torch.where(mask, scores, -1.0).argsort(descending=True, stable=True)
    drawn = torch.full((channels,), -1, dtype=torch.long, device=device)
    waiting = closed if num_sources else closed[:0]
    # One round unless sources are used up; each further round has others.
    while waiting.shape[0]:
        usable = ranked[mask[ranked] & (left[roots[ranked]] > 0)][:num_sources]
        if not usable.shape[0]:
            break
        choice = torch.randint(usable.shape[0], (waiting.shape[0],), generator=generator, device=device)
        root = roots[usable[choice]]
        served = _position_among_equals(root) < left[root]
        drawn[waiting[served]] = usable[choice[served]]
        left -= torch.bincount(root[served], minlength=channels)
        waiting = waiting[~served]
    slots = (drawn >= 0).nonzero().flatten()
    sources = drawn[slots]
    shifts = torch.rand(slots.shape[0], 2, generator=generator, device=device, dtype=scores.dtype)
    return Reallocation(slots, sources, roots[sources], (2 * shifts - 1) * MAX_SHIFT)


def _position_among_equals(values: Tensor) -> Tensor:
    """Return for each element how many equal ones stand before it."""
    order = values.argsort(stable=True)
    ordered = values[order]
    starts = torch.searchsorted(ordered, ordered)  # of each run of equal values
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device) - starts)
