"""Checks that layers make of their features, before a branch or a norm does it in PyTorch's words."""

import torch
from torch import Tensor, nn

from ops import ArgumentError, Window, autocasts


def check_features(x: Tensor, in_channels: int) -> None:
    """Check that ``x`` is ``(B, in_channels, H, W)``, or one image without ``B``."""
    if not isinstance(x, Tensor):
        raise ArgumentError("x", type(x).__name__, "a tensor")
    if x.dim() not in (3, 4) or x.shape[-3] != in_channels:
        need = f"(B, {in_channels}, H, W), or one image without B"
        raise ArgumentError("x", f"shape {tuple(x.shape)}", need)


def check_size(x: Tensor, conv: nn.Conv2d) -> None:
    """Check that features have an output, as :mod:`ops` does for its own convolutions."""
    if not isinstance(conv.padding, str):
        Window.of(x if x.dim() == 4 else x.unsqueeze(0), conv.kernel_size, conv.stride, conv.padding, conv.dilation)


def check_kind(x: Tensor, weight: Tensor) -> None:
    """Check that ``x`` is dense, not empty, and of the dtype and device of ``weight``; autocast takes other dtypes."""
    if x.layout != torch.strided:
        raise ArgumentError("x", f"a tensor of layout {x.layout}", "a dense one")
    if x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ArgumentError("x", f"shape {tuple(x.shape)}", "at least one pixel")
    cast = x.is_floating_point() and autocasts(x)
    if x.device != weight.device or (x.dtype != weight.dtype and not cast):
        need = f"{weight.dtype} on {weight.device}, the dtype and device of the layer"
        raise ArgumentError("x", f"{x.dtype} on {x.device}", need)
