"""Every operator on a batch of no samples, as :func:`torch.nn.functional.conv2d` takes it: no backend runs it.

A program exported for any batch size cannot choose this; :mod:`ops.folding` has what it runs.

The output is empty, and whatever took part gets a gradient of zero: convolving with the sum of no kernels, which is
zero, gives both.
"""

import torch.nn.functional as F
from torch import Tensor

from ops.mixing import mix_kernels
from ops.window import Window


def depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(0, C, H, W)`` with ``(0, C, kH, kW)``."""
    return per_sample(x, weight.unsqueeze(2), window, x.shape[1])


def dynamic_depthwise(x: Tensor, bank: Tensor, attention: Tensor, window: Window) -> Tensor:
    """Convolve ``(0, C, H, W)`` with mixtures of ``(K, C, kH, kW)`` by ``(0, K)`` or ``(0, K, C)``."""
    return depthwise(x, mix_kernels(bank, attention), window)


def per_sample(x: Tensor, kernels: Tensor, window: Window, groups: int) -> Tensor:
    """Convolve ``(0, C_in, H, W)`` with ``(0, C_out, C_in/groups, kH, kW)``."""
    return F.conv2d(x, kernels.sum(0), None, *window, groups)


def feature_mixing(
    x: Tensor, bank: Tensor, attention: Tensor, bias: Tensor | None, window: Window, groups: int
) -> Tensor:
    """Convolve as :func:`per_sample` with mixtures of ``(K, C_out, C_in/groups, kH, kW)``; bias included."""
    y = per_sample(x, mix_kernels(bank, attention), window, groups)
    return y if bias is None else y + mix_kernels(bias, attention)[:, :, None, None]
