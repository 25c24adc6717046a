"""Plain PyTorch: every operator, on any device, differentiable to any order.

A depthwise convolution folds the batch into the channels of one grouped convolution. Of the plain formulations measured
on CPU (sum over taps, unfold, grouped convolution in either memory format) this one is the fastest, forward and
backward.
"""

import torch.nn.functional as F
from torch import Tensor

from ops.dispatch.backend import Backend, Implementation
from ops.dispatch.operators import DEPTHWISE, FEATURE_MIXING, PER_SAMPLE, REWIRE
from ops.layout import in_format_of
from ops.mixing import by_features, by_sample
from ops.rewiring import run_eager
from ops.window import Window


def run_depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    batch, channels = x.shape[:2]
    planes = x.reshape(1, batch * channels, *x.shape[2:])
    kernels = weight.reshape(batch * channels, 1, *weight.shape[2:])
    y = F.conv2d(planes, kernels, None, *window, groups=batch * channels)
    return in_format_of(y.reshape(batch, channels, *y.shape[2:]), x)


EAGER = Backend(
    "eager",
    {
        DEPTHWISE: Implementation(run_depthwise),
        PER_SAMPLE: Implementation(by_sample),
        FEATURE_MIXING: Implementation(by_features),
        REWIRE: Implementation(run_eager),
    },
    summary="plain PyTorch; every operator, everywhere",
)
