"""The kind ``"condconv"``: conditionally parameterised convolution, https://arxiv.org/abs/1904.04971"""

import torch
from torch import Tensor, nn

from dyc.layers.kinds import register_attention


class CondConvAttention(nn.Module):
    """Route each sample to all kernels at once: ``sigmoid(fc(x.mean((2, 3))))``, not normalised.

    The weights lie between 0 and 1 and do not sum to one, so a layer's output grows with the number of kernels. The
    linear layer starts as in the authors' TensorFlow code: Glorot's uniform distribution, and a bias of zero. There
    the convolutions of one block share a routing; here each layer has its own, as in the paper's section 3.

    Args:
        in_channels: Channels of the features.
        out_channels: Not used: all output channels share the weights.
        num_kernels: Kernels in the bank, ``K``; experts in the paper.
        bias: Bias of the linear layer, which the paper's formula leaves out and the authors' code has.
        zero_init: Start with a weight of 1/2 for each kernel, whatever the input: ``make_dynamic(init="copy")``
            needs it.
        temperature: Not used: every kind is given one, and a sigmoid routing has none.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, K)``.

    Source: Yang et al., CondConv, section 3, https://arxiv.org/abs/1904.04971

    Example:
        >>> import torch
        >>> CondConvAttention(64, 32, 8)(torch.randn(2, 64, 7, 7)).shape
        torch.Size([2, 8])
    """

    sums_to_one = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_kernels: int,
        *,
        bias: bool = True,
        zero_init: bool = False,
        temperature: float = 30.0,
    ):
        super().__init__()
        self.fc = nn.Linear(in_channels, num_kernels, bias=bias)
        self.copy_scale = 2 / num_kernels if zero_init else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight from Glorot's uniform distribution, or zero it for ``zero_init``, and zero the bias."""
        if self.copy_scale is None:
            nn.init.xavier_uniform_(self.fc.weight)
        else:
            nn.init.zeros_(self.fc.weight)
        if self.fc.bias is not None:
            nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to weights ``(B, K)``."""
        return torch.sigmoid(self.fc(x.mean((2, 3))))


register_attention("condconv", CondConvAttention)
