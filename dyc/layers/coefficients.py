"""DyNet's coefficients: one module predicts what mixes the kernels of every convolution of a block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ops import ArgumentError, positive_int


class BlockCoefficients(nn.Module):
    """Predict the coefficients of all convolutions of a block from the features that enter it.

    ``sigmoid(fc2(relu(fc1(x.mean((2, 3))))))``, or ``sigmoid(fc2(x.mean((2, 3))))`` without a hidden layer, split into
    one tensor per convolution. Each goes to a ``DynamicConv2d(..., attention=None)`` as ``conv(x, coefficients)``.
    Coefficients are per kernel and output channel and lie between 0 and 1; they do not sum to one.

    The weights are drawn from He's normal distribution by fan-out and the biases are zero, so that every coefficient
    starts near 1/2. The publication gives neither biases nor an initialisation.

    Args:
        in_channels: Channels of the block's input.
        out_channels: Output channels of each convolution, in the order of the result.
        num_kernels: Kernels per output channel, ``K`` (``g_t`` in the publication, which uses 6).
        hidden: Width of the hidden layer; None leaves it out.

    Shape:
        ``(B, C_in, H, W)`` to a list of ``(B, K, C_out)``, or ``(C_in, H, W)`` to one of ``(K, C_out)``.

    Raises:
        ArgumentError: A size is below 1, or there is no convolution.

    Source: Zhang et al., DyNet, section 3.1, https://arxiv.org/abs/2004.10694

    Example:
        >>> import torch
        >>> pointwise, grouped = BlockCoefficients(16, (24, 24), num_kernels=6)(torch.randn(2, 16, 8, 8))
        >>> pointwise.shape
        torch.Size([2, 6, 24])
    """

    sums_to_one = False

    def __init__(self, in_channels: int, out_channels: Sequence[int], num_kernels: int = 6, hidden: int | None = None):
        super().__init__()
        if not isinstance(out_channels, Sequence) or not out_channels:
            raise ArgumentError("out_channels", repr(out_channels), "the channels of at least one convolution")
        sizes = {"in_channels": in_channels, "num_kernels": num_kernels, "hidden": 1 if hidden is None else hidden}
        for name, value in (*sizes.items(), *(("out_channels", channels) for channels in out_channels)):
            positive_int(name, value)
        self.num_kernels = num_kernels
        self.out_channels = tuple(out_channels)
        self.sizes = [num_kernels * channels for channels in self.out_channels]
        self.fc1 = None if hidden is None else nn.Linear(in_channels, hidden)
        self.fc2 = nn.Linear(in_channels if hidden is None else hidden, num_kernels * sum(self.out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from He's normal distribution (fan-out) and zero the biases."""
        for layer in (self.fc1, self.fc2):
            if layer is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return ``(B, K, C_out)`` for each convolution, or ``(K, C_out)`` for one image."""
        pooled = x.mean((-2, -1))
        if self.fc1 is not None:
            pooled = torch.relu(self.fc1(pooled))
        mixed = torch.sigmoid(self.fc2(pooled))
        each = mixed.split(self.sizes, dim=-1)
        return [each[i].unflatten(-1, (self.num_kernels, -1)) for i in range(len(self.sizes))]

    def extra_repr(self) -> str:
        """Say which convolutions are served."""
        return f"out_channels={self.out_channels}, num_kernels={self.num_kernels}"
