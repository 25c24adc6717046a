"""The definition of the operators: a sum over kernel taps in float64. Slow and plain, the oracle of every test."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ops.window import IntPair, padding_pair, pair


def mix_kernels(weight: Tensor, attention: Tensor) -> Tensor:
    """Sum the bank ``(K, C_out, ...)`` with ``(B, K)`` or ``(B, K, C_out)`` into ``(B, C_out, ...)``, in float64."""
    if attention.dim() == 2:
        attention = attention.unsqueeze(-1).expand(-1, -1, weight.shape[1])
    return torch.einsum("bko,ko...->bo...", attention.double(), weight.double())


def conv2d_per_sample(x: Tensor, weight: Tensor, stride: IntPair, padding, dilation: IntPair, groups: int) -> Tensor:
    """Convolve sample b of ``(B, C_in, H, W)`` with ``weight[b]`` of ``(B, C_out, C_in/groups, kH, kW)``."""
    x, weight = x.double(), weight.double()
    batch, out_channels, in_per_group, *kernel = weight.shape
    stride, dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
    padding = padding_pair(padding, tuple(kernel), stride, dilation)
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    x = x.reshape(batch, groups, in_per_group, *x.shape[2:])
    weight = weight.reshape(batch, groups, out_channels // groups, in_per_group, *kernel)
    rows, columns = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[3:], kernel, stride, dilation))
    total = x.new_zeros(batch, groups, out_channels // groups, rows, columns)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            tap = x[
                ...,
                top : top + stride[0] * (rows - 1) + 1 : stride[0],
                left : left + stride[1] * (columns - 1) + 1 : stride[1],
            ]
            total = total + torch.einsum("bgoi,bgihw->bgohw", weight[..., i, j], tap)
    return total.flatten(1, 2)


def depthwise_conv2d(x: Tensor, weight: Tensor, *, stride=1, padding=0, dilation=1) -> Tensor:
    """Define :func:`ops.depthwise_conv2d`; ``(B, C, H, W)`` and ``(B, C, kH, kW)`` in, float64 out."""
    return conv2d_per_sample(x, weight.unsqueeze(2), stride, padding, dilation, groups=x.shape[1])


def dynamic_conv2d(x, weight, attention, bias=None, *, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Define :func:`ops.dynamic_conv2d`; arguments as there, float64 out."""
    y = conv2d_per_sample(x, mix_kernels(weight, attention), stride, padding, dilation, groups)
    return y if bias is None else y + mix_kernels(bias, attention)[:, :, None, None]
