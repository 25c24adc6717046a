"""What a compact network needs beside PyTorch's own layers: some channels of its features, some of them shifted."""

import torch
from torch import Tensor, nn

from ops import rewire_channels, rewire_eager


class SelectChannels(nn.Module):
    """Take some channels: ``x.index_select(1, index)``, in the memory format of ``x``.

    Args:
        index: Channels to take, ``(C_out,)``, int64, in any order and as often as wanted. Kept as a buffer.

    Shape:
        ``(B, C, H, W)`` to ``(B, C_out, H, W)``.

    Example:
        >>> SelectChannels(torch.tensor([2, 0]))(torch.arange(3.0).view(1, 3, 1, 1)).flatten()
        tensor([2., 0.])
    """

    index: Tensor

    def __init__(self, index: Tensor):
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C_out, H, W)``."""
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return x.index_select(1, self.index)
        # One row per pixel: along dimension 1 of the features themselves it takes far longer, and returns another
        # memory format. Gathering from rows takes half of index_select's time in float32, a quarter in bfloat16.
        batch, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
        rows = rows.gather(1, self.index.expand(rows.shape[0], -1))
        return rows.view(batch, height, width, self.index.shape[0]).permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Describe the size."""
        return f"{self.index.shape[0]} channels"


class ShiftChannels(nn.Module):
    """Replace some channels by shifted copies of others: :func:`ops.rewire_channels` with learned shifts.

    Args:
        slots: Channels to replace, ``(R,)``, int64.
        sources: Channels to read, ``(R,)``, int64.
        shift: Where the copies are sampled, ``(R, 2)``, horizontal and vertical, in pixels. Becomes a parameter.
        backend: Backend of :func:`ops.rewire_channels`.

    Shape:
        ``(B, C, H, W)`` to ``(B, C, H, W)``.
    """

    slots: Tensor
    sources: Tensor

    def __init__(self, slots: Tensor, sources: Tensor, shift: Tensor, backend: str = "auto"):
        super().__init__()
        self.register_buffer("slots", slots)
        self.register_buffer("sources", sources)
        self.shift = nn.Parameter(shift)
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H, W)``."""
        if torch.jit.is_scripting():
            return rewire_eager(x, self.slots, self.sources, self.shift)
        return rewire_channels(x, self.slots, self.sources, self.shift, backend=self.backend)

    def extra_repr(self) -> str:
        """Describe the size."""
        return f"{self.slots.shape[0]} channels, backend={self.backend!r}"
