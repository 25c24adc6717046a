"""Plain PyTorch: every operator, on any device, differentiable to any order.

A depthwise convolution folds the batch into the channels of one grouped convolution. Of the plain formulations measured
on CPU (sum over taps, unfold, grouped convolution in either memory format) this one is the fastest, forward and
backward.
"""

from torch import Tensor

from ops.dispatch.backend import Backend, Implementation
from ops.dispatch.operators import DEPTHWISE, FEATURE_MIXING, PER_SAMPLE, REWIRE
from ops.folding import fold_batch
from ops.mixing import by_features, by_sample
from ops.rewiring import run_eager
from ops.window import Window


def run_depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    return fold_batch(x, weight.unsqueeze(2), window, x.shape[1])


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
