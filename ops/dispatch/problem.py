"""One depthwise call, described: all that a backend is asked about."""

from typing import NamedTuple

import torch
from torch import Tensor

from ops.checks import is_channels_last, transformed

Pair = tuple[int, int]


class Problem(NamedTuple):
    """What a backend needs to know of a depthwise call to say whether it can run it; sizes in pixels."""

    batch: int
    channels: int
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    dtype: torch.dtype
    device: str
    channels_last: bool
    needs_grad: bool
    transformed: bool = False  # by torch.func or forward-mode differentiation

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, *others: Tensor) -> "Problem":
        """Describe a call: x ``(B, C, H, W)``, weight ``(..., kH, kW)``; ``others`` may ask for gradients too."""
        batch, channels, height, width = x.shape
        return cls(
            batch,
            channels,
            (height, width),
            (weight.shape[-2], weight.shape[-1]),
            stride,
            padding,
            dilation,
            x.dtype,
            x.device.type,
            is_channels_last(x),
            torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, *others)),
            not torch.compiler.is_compiling() and transformed(),
        )
