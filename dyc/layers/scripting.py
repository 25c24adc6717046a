"""The dynamic convolution for TorchScript, which cannot follow the choice of a backend."""

import torch
import torch.nn.functional as F
from torch import Tensor


def scripted_conv2d(
    x: Tensor,
    weight: Tensor,
    attention: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Mix the kernels and convolve all samples at once, their channels side by side in as many more groups.

    Args and result as :func:`ops.dynamic_conv2d`, with pairs for the window.
    """
    batch, out_channels = x.shape[0], weight.shape[1]
    if batch == 0:  # groups are at least one
        return F.conv2d(x, weight[0], None, stride, padding, dilation, groups)
    if attention.dim() == 2:
        attention = attention.unsqueeze(2).expand(-1, -1, out_channels)
    kernels = torch.einsum("bko,koihw->boihw", attention, weight).flatten(0, 1)
    biases = None if bias is None else torch.einsum("bko,ko->bo", attention, bias).flatten()
    y = F.conv2d(x.flatten(0, 1).unsqueeze(0), kernels, biases, stride, padding, dilation, batch * groups)
    return y.view(batch, out_channels, y.shape[2], y.shape[3])
