"""The sums over taps of :mod:`ops.backends.compiled.taps` on rows joined end to end, for NCHW on the CPU at stride 1.

Inductor's vectors run along the innermost dimension, and the rows of NCHW are short: 4 pixels in the last stage of a
MobileNetV2 on 32 x 32 images. When the output is as large as the input, a tap is a shift of the whole plane, except
that pixels which fall off a row's end must not come back on the next one. A mask keeps them away; it selects instead of
multiplying, since a product would turn an infinity beyond the edge into NaN, and it is held in floats, which load as
they are whereas booleans are unpacked one by one. Zeros come before and after the plane by ``cat``, which Inductor
writes once, where ``pad`` would be asked again in each tap.
"""

import torch
from torch import Tensor

from ops.backends.compiled.taps import add, wide
from ops.window import Pair, Window


def fits(kernel: Pair, window: Window) -> bool:
    """Tell whether the output is as large as the input, at stride 1."""
    same = all(2 * p == d * (k - 1) for k, p, d in zip(kernel, window.padding, window.dilation))
    return window.stride == (1, 1) and same


def _joined(x: Tensor, window: Window) -> Tensor:
    """Return ``(N, H, W)`` as ``(N, zeros + H * W + zeros)``."""
    width = x.shape[-1]
    rows, columns = window.padding
    zeros = x.new_zeros((x.shape[0], rows * width + columns))
    return torch.cat([zeros, x.flatten(1), zeros], 1)


def _inside(x: Tensor, kernel_width: int, window: Window) -> list[Tensor | None]:
    """Return for each column of taps the pixels whose tap stays in its row, ``(H * W,)``: 1 or 0; None: all."""
    height, width = x.shape[1:]
    column = torch.arange(width, device=x.device)
    masks: list[Tensor | None] = []
    for j in range(kernel_width):
        seen = column + (j * window.dilation[1] - window.padding[1])
        inside = ((seen >= 0) & (seen < width)).to(torch.float32)
        masks.append(None if 2 * j == kernel_width - 1 else inside.expand(height, width).flatten())
    joined = [mask for mask in masks if mask is not None]
    if not joined:
        return masks
    parts = iter(torch.cat(joined).unflatten(0, (len(joined), -1)))  # written once, not asked again for each plane
    return [None if mask is None else next(parts) for mask in masks]


def forward(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(N, H, W)`` with ``(N, kH, kW)``."""
    kernel, width, pixels, total = weight.shape[1:], x.shape[2], x.shape[1] * x.shape[2], None
    joined = _joined(x, window)
    for j, inside in enumerate(_inside(x, kernel[1], window)):
        column = None
        for i in range(kernel[0]):
            start = i * window.dilation[0] * width + j * window.dilation[1]
            column = add(column, wide(joined[:, start : start + pixels]) * wide(weight[:, i, j, None]))
        total = add(total, column if inside is None else torch.where(inside > 0.5, column, 0.0))
    return total.to(x.dtype).view(x.shape)


def grad_weight(grad: Tensor, x: Tensor, kernel_height: int, kernel_width: int, window: Window) -> Tensor:
    """Return the gradient to ``(N, kernel_height, kernel_width)`` kernels."""
    width, pixels = x.shape[2], x.shape[1] * x.shape[2]
    joined, grad = _joined(x, window), wide(grad.flatten(1))
    columns = []
    for j, inside in enumerate(_inside(x, kernel_width, window)):
        seen = grad if inside is None else torch.where(inside > 0.5, grad, 0.0)
        starts = (i * window.dilation[0] * width + j * window.dilation[1] for i in range(kernel_height))
        columns.append(torch.stack([(seen * wide(joined[:, s : s + pixels])).sum(1) for s in starts], 1))
    return torch.stack(columns, 2).to(x.dtype)
