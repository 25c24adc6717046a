"""The dynamic convolution for padding "same", decided by the size of each input as TensorFlow does."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dyc.layers.dynamic_conv import DynamicConv2d
from ops import GlobalBranch, IntPair, branch_attention, dynamic_conv2d


class DynamicConv2dSame(DynamicConv2d):
    """A drop-in for timm's ``Conv2dSame``: the output has ``ceil(size / stride)`` rows and columns.

    Zeros are added on both sides, the odd one after the last pixel; how many depends on the input's size, so they
    cannot be an argument of the convolution. The attention looks at the features without them. With stride 1 this is
    also what :class:`torch.nn.Conv2d` does for ``padding="same"`` with kernels of even extent.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One int or ``(vertical, horizontal)``.
        stride: Step in pixels.
        dilation: Distance of the taps in pixels.
        groups: Groups; must divide both channel counts.
        bias: Give each kernel a bias, mixed by the same attention.
        options: The keyword arguments of :class:`dyc.DynamicConv2d`.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_out, ceil(H / stride), ceil(W / stride))``.

    Raises:
        ArgumentError: An argument cannot be used; names it, what was got and what is needed.

    Example:
        >>> import torch
        >>> DynamicConv2dSame(8, 8, 3, stride=2, groups=8)(torch.randn(2, 8, 15, 16)).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        **options,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias, **options)

    def _convolve(self, operator: Callable[..., Tensor], x: Tensor, attention: Tensor | GlobalBranch) -> Tensor:
        if isinstance(attention, GlobalBranch):
            # An operator with the attention inside would pool the padding too.
            operator, attention = dynamic_conv2d, branch_attention(x, attention, self.num_kernels)
        return super()._convolve(operator, self._padded(x), attention)

    def _padded(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last dimension
            size, step = x.shape[2 + axis], self.stride[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = (-(-size // step) - 1) * step + reach - size
            if torch.jit.is_scripting():  # noqa: SIM108 (TorchScript would compile both sides of an expression)
                total = max(total, 0)
            else:  # rather than max: a traced size stays a variable
                total = torch.sym_max(total, 0)
            sides += [total // 2, total - total // 2]
        return F.pad(x, sides)

    def extra_repr(self) -> str:
        """Describe the convolution as :class:`torch.nn.Conv2d` does."""
        return super().extra_repr().replace(f"padding={self.padding}", "padding='same'")
