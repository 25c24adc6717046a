"""Adaptive pooling from comparisons and products, for exporters that know it for some sizes alone."""

import torch
from torch import Tensor


def adaptive_pool(x: Tensor, cells: int, kind: str) -> Tensor:
    """Do as ``F.adaptive_avg_pool2d`` and ``F.adaptive_max_pool2d`` with operators that take any size.

    Args:
        x: ``(B, C, H, W)``.
        cells: Pixels of the result in each direction, ``p``.
        kind: ``"avg"`` or ``"max"``.

    Returns:
        ``(B, C, p, p)``.

    Example:
        >>> adaptive_pool(torch.arange(6.0).view(1, 1, 2, 3), 2, "avg")
        tensor([[[[0.5000, 1.5000],
                  [3.5000, 4.5000]]]])
    """
    rows, columns = (_cells(x, axis, cells) for axis in (2, 3))
    if kind == "avg":
        return _averaging(rows, x) @ x @ _averaging(columns, x).transpose(0, 1)
    lowest = torch.finfo(x.dtype).min
    x = x.unsqueeze(2).masked_fill(~rows.unsqueeze(2), lowest).amax(3)  # (B, C, p, H, W) to (B, C, p, W)
    return x.unsqueeze(3).masked_fill(~columns, lowest).amax(4)


def _cells(x: Tensor, axis: int, cells: int) -> Tensor:
    """Return ``(p, n)``: cell i has the pixels from ``floor(i * n / p)`` to ``ceil((i + 1) * n / p)``."""
    # Counted rather than read from the shape, which exporters that trace keep as a number; and from the values, of
    # which all are themselves or NaN, as they take what depends on the shape alone for a constant.
    line = x[0, 0].select(3 - axis, 0)
    ones = ((line == line) | line.isnan()).to(torch.float32)
    size, pixels = ones.sum(), (ones.cumsum(0) - 1) * cells
    starts = torch.arange(cells, device=x.device, dtype=torch.float32)[:, None] * size
    return (pixels < starts + size) & (pixels + cells > starts)


def _averaging(mask: Tensor, x: Tensor) -> Tensor:
    weights = mask.to(x.dtype)
    return weights / weights.sum(1, keepdim=True)
