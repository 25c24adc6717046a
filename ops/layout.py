"""The memory format of features: NCHW or channels_last. What goes in keeps it, and so does what comes out."""

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Tell whether the channel is the fastest dimension of ``x`` (slices of channels_last tensors included)."""
    return x.shape[1] > 1 and x.stride(1) == 1 and not x.is_contiguous()


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return PyTorch's name of a memory format."""
    return torch.channels_last if channels_last else torch.contiguous_format


def laid_out(x: Tensor, channels_last: bool) -> Tensor:
    """Return ``x``, dense, in a memory format."""
    return x.contiguous(memory_format=memory_format(channels_last))


def in_format_of(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x``, dense, in the memory format of ``like``."""
    return laid_out(x, is_channels_last(like))
