"""A convolution whose input channels can be closed."""

from typing import Any

import torch
from torch import Tensor, nn

from ops import ArgumentError


class MaskedConv2d(nn.Conv2d):
    """A :class:`torch.nn.Conv2d` without the contribution of closed input channels.

    ``F.conv2d(x * mask[:, None, None], weight, ...)``, computed by masking the weights instead: the same
    sums, but the kernels are far smaller than the features. While every channel is open, it is the plain
    convolution.

    Args:
        args: As :class:`torch.nn.Conv2d`; ``groups`` must be 1.
        kwargs: Likewise.

    The buffer ``mask`` ``(C_in,)`` is True for open channels; call :meth:`refresh` after changing it in place.
    """

    mask: Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.groups != 1:
            need = "1, as an input channel of a grouped convolution serves only some of the outputs"
            raise ArgumentError("groups", self.groups, need)
        self.register_buffer("mask", torch.ones(self.in_channels, dtype=torch.bool, device=self.weight.device))
        self.has_closed = False

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> "MaskedConv2d":
        """Return a masked convolution that owns the very parameters of ``conv``, all channels open."""
        with torch.device("meta"):
            masked = cls(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups,
                conv.bias is not None,
                conv.padding_mode,
            )
        masked.weight, masked.bias = conv.weight, conv.bias
        masked.mask = torch.ones(conv.in_channels, dtype=torch.bool, device=conv.weight.device)
        return masked.train(conv.training)

    def reset_parameters(self) -> None:
        """Draw the weights as :class:`torch.nn.Conv2d` does, and open every channel."""
        super().reset_parameters()
        if hasattr(self, "mask"):  # not while the weights are drawn for the first time
            self.mask.fill_(True)
            self.refresh()

    def refresh(self) -> None:
        """Note whether a channel is closed, so that the forward pass need not look."""
        if not self.mask.is_meta:
            self.has_closed = not bool(self.mask.all())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H', W')``, or one image without ``B``."""
        weight = self.weight
        if self.has_closed:
            # Not a product, in which a weight that is not finite would leave its mark.
            weight = weight.masked_fill(~self.mask[:, None, None], 0.0)
        return self._conv_forward(x, weight, self.bias)
