"""The depthwise operator and its two gradients as sums over kernel taps, in plain PyTorch: what Inductor fuses.

No group count depends on the batch, so one graph serves every batch and image size. The gradients are written out:
those that autograd derives (one padded copy per slice) are 2 to 7 times slower once compiled. Shapes are
``(..., H, W)`` for features and ``(..., kH, kW)`` for kernels: ``(B, C, ...)`` in channels_last, ``(B * C, ...)`` in
NCHW. Sums are in float32 when what is stored is shorter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ops.window import Pair, Window


def wide(x: Tensor) -> Tensor:
    """Return ``x`` in the type that sums are taken in; Inductor keeps it in registers."""
    return x if x.dtype == torch.float64 else x.float()


def add(total: Tensor | None, term: Tensor) -> Tensor:
    """Add to a sum that starts as None: a first ``zeros +`` would be one more tensor to trace."""
    return term if total is None else total + term


def shifted(x: Tensor, i: int, j: int, size: Pair, window: Window) -> Tensor:
    """Return what tap ``(i, j)`` sees of padded features, ``(..., H', W')``."""
    (sy, sx), (dy, dx) = window.stride, window.dilation
    top, left = i * dy, j * dx
    return x[..., top : top + sy * (size[0] - 1) + 1 : sy, left : left + sx * (size[1] - 1) + 1 : sx]


def padded(x: Tensor, padding: Pair) -> Tensor:
    """Return ``x`` with zeros around."""
    return F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x


def forward(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(..., H, W)`` with ``(..., kH, kW)``."""
    kernel = weight.shape[-2:]
    size, total = window.output_size(x.shape[-2:], kernel), None
    x = padded(x, window.padding)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            total = add(total, wide(shifted(x, i, j, size, window)) * wide(weight[..., i, j, None, None]))
    return total.to(x.dtype)


def _phase(remainder: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[int, int]]:
    """Return the taps that reach the pixels ``remainder + stride * q``, each with its gradient's index minus ``q``."""
    reach = ((tap, remainder + padding - tap * dilation) for tap in range(kernel))
    return [(tap, distance // stride) for tap, distance in reach if distance % stride == 0]


def _phases(kernel: Pair, window: Window) -> list[list[list[tuple[int, int]]]]:
    """Return for each axis, for each phase, its taps and steps, and before them how far the steps reach."""
    return [[_phase(r, k, s, p, d) for r in range(s)] for k, s, p, d in zip(kernel, *window)]


def _reach(phases: list[list[tuple[int, int]]]) -> Pair:
    """Return how many gradients an axis needs before the first pixel's own, and after the last pixel's."""
    steps = [step for phase in phases for _, step in phase]
    return max(0, -min(steps)), max(0, *steps)


def phase_input(grad: Tensor, kernel: Pair, height: int, width: int, window: Window) -> Tensor:
    """Return the gradients with the zeros that :func:`grad_phases` reads, without the pixels that it does not."""
    pads = []
    for axis, (size, stride, phases) in enumerate(zip((height, width), window.stride, _phases(kernel, window))):
        before, after = _reach(phases)
        pads.append((before, -(-size // stride) + after - grad.shape[axis - 2]))
    return F.pad(grad, (*pads[1], *pads[0])) if any(pads[0]) or any(pads[1]) else grad


def grad_phases(grad: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the gradient to the features, their size rounded up to a multiple of the stride.

    At stride s the pixels fall into s x s phases, each of which is reached by some of the taps only; they are computed
    one by one and interleaved, so that no tap is multiplied with a zero between two gradients. All sizes follow from
    that of the padded gradients, for those of the features as well would make formulas that are slow to compile.
    """
    phases = _phases(weight.shape[-2:], window)
    (top, below), (left, right) = (_reach(axis) for axis in phases)
    rows, columns = grad.shape[-2] - top - below, grad.shape[-1] - left - right
    lines = []
    for vertical in phases[0]:
        line = []
        for horizontal in phases[1]:
            total = None
            for i, down in vertical:
                for j, across in horizontal:
                    y, x = top + down, left + across
                    seen = grad[..., y : y + rows, x : x + columns]
                    total = add(total, wide(seen) * wide(weight[..., i, j, None, None]))
            if total is None:  # no tap reaches these pixels
                total = torch.zeros_like(grad[..., :rows, :columns])
            line.append(total.to(grad.dtype))
        lines.append(_interleave(line, -1))
    return _interleave(lines, -2)


def _interleave(parts: list[Tensor], dim: int) -> Tensor:
    """Return a tensor whose index ``s * q + r`` along ``dim`` (-2 or -1) is index ``q`` of part ``r``."""
    if len(parts) == 1:
        return parts[0]
    axis, images = 3 + dim, parts[0].dim() == 4
    if images:  # (B, C, H, W) in channels_last: keep the channel innermost
        parts = [part.permute(0, 2, 3, 1) for part in parts]
    whole = torch.stack(parts, axis + 1).flatten(axis, axis + 1)
    return whole.permute(0, 3, 1, 2) if images else whole


def grad_weight(grad: Tensor, x: Tensor, kernel_height: int, kernel_width: int, window: Window) -> Tensor:
    """Return the gradient to ``(..., kernel_height, kernel_width)`` kernels: one sum over the pixels per tap."""
    size = window.output_size(x.shape[-2:], (kernel_height, kernel_width))  # the shape of grad, known to fit in x
    x, grad = padded(x, window.padding), wide(grad)
    taps = [
        (grad * wide(shifted(x, i, j, size, window))).sum((-2, -1))
        for i in range(kernel_height)
        for j in range(kernel_width)
    ]
    return torch.stack(taps, -1).unflatten(-1, (kernel_height, kernel_width)).to(x.dtype)
