"""Channels that are read from other channels of the same features, shifted by a fraction of a pixel."""

import torch
from torch import Tensor


def _interpolation(shift: Tensor, size: int) -> Tensor:
    whole = shift.floor()
    part = (shift - whole)[:, None, None]
    here = torch.arange(size, device=shift.device)
    first = (here + whole.long()[:, None]).clamp(0, size - 1)
    second = (here + whole.long()[:, None] + 1).clamp(0, size - 1)
    return (1 - part) * (first[:, :, None] == here) + part * (second[:, :, None] == here)


def rewire_channels(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor, *, backend: str = "auto") -> Tensor:
    """Replace channels by shifted copies of others."""
    if slots.numel() == 0:
        return x
    batch, _, height, width = x.shape
    count = slots.shape[0]
    taken = x.permute(1, 2, 0, 3).index_select(0, sources)
    rows = _interpolation(shift[:, 1], height).to(x.dtype)
    columns = _interpolation(shift[:, 0], width).to(x.dtype)
    y = torch.bmm(rows, taken.reshape(count, height, batch * width)).view(count, height * batch, width)
    y = torch.bmm(y, columns.transpose(1, 2)).view(count, height, batch, width)
    return x.index_copy(1, slots, y.permute(2, 0, 1, 3))
