"""Each sample convolved with its own kernels in plain PyTorch: the batch folded into the groups of one convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ops.constant_attributes import wants_constant_attributes
from ops.layout import in_format_of
from ops.window import Window


def fold_batch(x: Tensor, kernels: Tensor, window: Window, groups: int) -> Tensor:
    """Convolve sample b with ``kernels[b]`` of ``(B, C_out, C_in/groups, kH, kW)``, in the memory format of ``x``.

    There must be a sample, except in a program exported for any batch size: it has one form for all of them.
    """
    batch, out_channels = kernels.shape[:2]
    spare = 0
    if _is_variable(batch):
        if groups == 1 or wants_constant_attributes():  # the number of groups would depend on the batch
            return in_format_of(_as_product(x, kernels, window, groups), x)
        spare = 1
    planes = x.reshape(1, batch * x.shape[1], *x.shape[2:])
    filters = kernels.flatten(0, 1)
    if spare:  # a group of zeros, so that there is one without samples too: the exporter takes max(B, 1) for B
        planes = F.pad(planes, (0, 0, 0, 0, 0, kernels.shape[2]))
        filters = F.pad(filters, (0, 0, 0, 0, 0, 0, 0, out_channels // groups))
    y = F.conv2d(planes, filters, None, *window, batch * groups + spare)
    if spare:
        y = y[:, : batch * out_channels]
    return in_format_of(y.reshape(batch, out_channels, *y.shape[2:]), x)


def _is_variable(batch: int) -> bool:
    """Tell whether a program is being exported that is to run with other batch sizes as well, 0 included."""
    if not torch.compiler.is_exporting():
        return False
    from torch.fx.experimental.symbolic_shapes import has_static_value  # slow to import; the exporter has done it

    return not has_static_value(batch)


def _as_product(x: Tensor, kernels: Tensor, window: Window, groups: int) -> Tensor:
    """Convolve by a matrix product per sample and group, with copies of what each pixel of the output sees."""
    kernel = kernels.shape[3:]
    rows, columns = window.output_size(x.shape[2:], kernel)
    seen = F.unfold(x, kernel, window.dilation, window.padding, window.stride).unflatten(1, (groups, -1))
    y = kernels.flatten(2).unflatten(1, (groups, -1)) @ seen
    y = y.flatten(1, 2).unflatten(2, (rows, columns))
    # The same sizes once more: the exporter writes the width as pixels // rows, which it cannot compare with others.
    return y if torch.onnx.is_in_onnx_export() else y.expand(-1, -1, rows, columns)
