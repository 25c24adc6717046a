"""The kind ``"odconv"``: omni-dimensional dynamic convolution, https://openreview.net/forum?id=DmpCfq6Mg39"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.layers.attention import check_temperature
from dyc.layers.kinds import register_attention
from ops import ArgumentError, KernelAttention, positive_int


class ODConvAttention(nn.Module):
    """Four attentions from one squeezed vector: over taps, input channels, output channels (filters) and kernels.

    With ``z = relu(fc1(x.mean((2, 3))))``, the kernels' weights are ``softmax(fc2(z) / temperature)``, the others
    ``sigmoid(fc2(z) / temperature)``, each from its own rows of ``fc2``. What has nothing to choose is absent, as in
    the authors' code (https://github.com/OSVAI/ODConv): taps of 1x1 kernels, kernels of a bank of one, and filters
    of a depthwise convolution, whose filters are its input channels.

    The authors normalise ``fc1`` by BatchNorm, which cannot be trained on one sample per device; by default a bias
    takes its place. With ``norm=True``, a batch of one sample is normalised by the running statistics. Layers of this
    kind do not compile in TorchScript; they export, trace and ``torch.compile``.

    Args:
        in_channels: Channels of the features.
        out_channels: Output channels of the convolution.
        num_kernels: Kernels in the bank, ``K``.
        kernel_size: ``(kH, kW)`` of the convolution.
        groups: Groups of the convolution.
        rd_ratio: Width of the squeezed vector as a share of ``in_channels``, rounded down.
        min_width: Its smallest width.
        norm: BatchNorm instead of a bias after ``fc1``, as published.
        zero_init: Start with every sigmoid at 1/2 and equal weights of the kernels, whatever the input:
            ``make_dynamic(init="copy")`` needs it. ``fc1`` then gets its first gradient in the second step.
        temperature: Divides the outputs of ``fc2``; the authors let it fall from 30 to 1.

    Shape:
        ``(B, C_in, H, W)`` to a :class:`dyc.KernelAttention`: kernels ``(B, K, C_out)``, or ``(B, K)`` if depthwise;
        inputs ``(B, C_in)``; taps ``(B, kH, kW)``, or None for 1x1 kernels.

    Source: Li et al., Omni-Dimensional Dynamic Convolution, section 3.2, https://openreview.net/forum?id=DmpCfq6Mg39

    Example:
        >>> import torch
        >>> found = ODConvAttention(64, 32, 4, kernel_size=(3, 3))(torch.randn(2, 64, 7, 7))
        >>> found.kernels.shape, found.inputs.shape, found.taps.shape
        (torch.Size([2, 4, 32]), torch.Size([2, 64]), torch.Size([2, 3, 3]))
    """

    sums_to_one = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_kernels: int,
        *,
        kernel_size: tuple[int, int],
        groups: int = 1,
        rd_ratio: float = 1 / 16,
        min_width: int = 16,
        norm: bool = False,
        zero_init: bool = False,
        temperature: float = 30.0,
    ):
        super().__init__()
        self.register_buffer("temperature", torch.tensor(check_temperature(temperature)))
        if not rd_ratio > 0:
            raise ArgumentError("rd_ratio", rd_ratio, "a positive number")
        positive_int("min_width", min_width)
        self.kernel_size = tuple(kernel_size)
        taps = self.kernel_size[0] * self.kernel_size[1]
        depthwise = groups == in_channels == out_channels
        self.widths = {
            "inputs": in_channels,
            "filters": 0 if depthwise else out_channels,
            "taps": 0 if taps == 1 else taps,
            "kernels": 0 if num_kernels == 1 else num_kernels,
        }
        hidden = max(int(in_channels * rd_ratio), min_width)
        self.fc1 = nn.Linear(in_channels, hidden, bias=not norm)
        self.norm = nn.BatchNorm1d(hidden) if norm else None
        # One layer for all four: a matrix product of its own for each would cost four times the calls.
        self.fc2 = nn.Linear(hidden, sum(self.widths.values()))
        self.zero_init = zero_init
        self.reset_parameters()

    @property
    def copy_scale(self) -> float | None:
        """What keeps the output if each kernel is a copy multiplied by it: 2 for each sigmoid."""
        present = sum(self.widths[name] > 0 for name in ("inputs", "filters", "taps"))
        return 2.0**present if self.zero_init else None

    @property
    def copy_bias_scale(self) -> float | None:
        """The same for the biases, which only kernels and filters mix."""
        return 2.0 ** (self.widths["filters"] > 0) if self.zero_init else None

    def reset_parameters(self) -> None:
        """Draw each part's weights from He's normal distribution by its own fan-out, and zero the biases."""
        for rows in (self.fc1.weight, *self.fc2.weight.split([width for width in self.widths.values() if width])):
            with torch.no_grad():
                nn.init.kaiming_normal_(rows, mode="fan_out", nonlinearity="relu")
        if self.zero_init:
            nn.init.zeros_(self.fc2.weight)
        for layer in (self.fc1, self.fc2):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> KernelAttention:
        """Map features ``(B, C_in, H, W)`` to the weights of kernels and filters, input channels and taps."""
        z = self.fc1(x.mean((2, 3)))
        if self.norm is not None:
            norm = self.norm
            if self.training and z.shape[0] == 1 and isinstance(norm, nn.BatchNorm1d):
                # The variance of one sample is zero: BatchNorm refuses to train on it.
                z = F.batch_norm(z, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
            else:
                z = norm(z)
        z = self.fc2(torch.relu(z)) / self.temperature
        gates, logits = z.tensor_split([z.shape[1] - self.widths["kernels"]], dim=1)
        inputs, filters, taps = torch.sigmoid(gates).split(list(self.widths.values())[:3], dim=1)
        kernels = torch.softmax(logits, dim=1) if self.widths["kernels"] else z.new_ones(z.shape[0], 1)
        if self.widths["filters"]:
            kernels = kernels.unsqueeze(2) * filters.unsqueeze(1)
        return KernelAttention(kernels, inputs, taps.unflatten(1, self.kernel_size) if self.widths["taps"] else None)


register_attention("odconv", ODConvAttention)
