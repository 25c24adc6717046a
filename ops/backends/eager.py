"""Plain PyTorch: the batch is folded into the channels of one grouped convolution.

Runs everywhere and is differentiable to any order. Of the plain formulations measured on CPU (sum over taps,
unfold, grouped convolution in either memory format) this one is the fastest, forward and backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ops.checks import is_channels_last
from ops.dispatch.problem import Pair
from ops.dispatch.registry import Backend


def run(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    batch, channels = x.shape[:2]
    planes = x.reshape(1, batch * channels, *x.shape[2:])
    kernels = weight.reshape(batch * channels, 1, *weight.shape[2:])
    y = F.conv2d(planes, kernels, None, stride, padding, dilation, groups=batch * channels)
    y = y.reshape(batch, channels, *y.shape[2:])
    return y.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else y


EAGER = Backend("eager", run, summary="plain PyTorch, one grouped convolution; runs everywhere")
