"""Attention over kernels: from features to the weights that mix a bank."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ops import ArgumentError, GlobalBranch


def check_temperature(temperature: float, argument: str = "temperature") -> float:
    """Return ``temperature`` as a float; raise :class:`ops.ArgumentError` unless it is positive and finite."""
    try:
        value = float(temperature)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentError(argument, repr(temperature), "a positive number")
    return value


class Attention(nn.Module):
    """Softmax over kernels at a temperature; subclasses say how logits come from features.

    The temperature is a persistent buffer: a checkpoint predicts with the temperature that it was trained to, and
    a resumed run goes on where it stopped.

    Args:
        temperature: Divides the logits; large values make the attention uniform.

    Raises:
        ArgumentError: The temperature is not positive.
    """

    def __init__(self, temperature: float = 30.0):
        super().__init__()
        self.register_buffer("temperature", torch.tensor(check_temperature(temperature)))

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to logits ``(B, K)`` or ``(B, K, C_out)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return weights that sum to one over the kernels, ``(B, K)`` or ``(B, K, C_out)``."""
        return torch.softmax(self.logits(x) / self.temperature, dim=1)


@torch.no_grad()
def mirror_(weight: Tensor) -> Tensor:
    """Make the second half of a linear layer's units the negative of the first half, in place.

    Without biases, ``n`` units that start independent are all below zero for about one in ``2**n`` branches, whatever
    the image, and such a branch never learns; of two mirrored units one is always alive.
    """
    half = weight.shape[0] // 2
    weight[half : 2 * half] = -weight[:half]
    return weight


class GlobalAttention(Attention):
    """Global average pooling and two linear layers: the branch of Dynamic Convolution (DY) and of DYC.

    ``softmax(fc2(relu(fc1(x.mean((2, 3))))) / temperature)`` over the kernels. DY has one weight per kernel, shared
    by all output channels; DYC has one per kernel and output channel. There is no BatchNorm, so that one sample per
    device trains.

    Args:
        in_channels: Channels of the features.
        out_channels: Output channels of the convolution.
        num_kernels: Kernels in the bank, ``K``.
        per_channel: False for DY, ``(B, K)``; True for DYC, ``(B, K, C_out)``.
        rd_ratio: Width of the hidden layer as a share of ``in_channels``, rounded down.
        rd_extra: Added to that width; 1 in the DYC report, 0 in counts quoted for Dynamic Convolution.
        fc1_bias: Bias of the first linear layer.
        fc2_bias: Bias of the second one, initialised to zero.
        mirror: Start the hidden layer with pairs of opposite units, for branches that are narrow.
        temperature: Softmax temperature.

    Sources: https://arxiv.org/abs/1912.03458 (DY); Jung, Dynamic Channel-wise Convolution, 2020 (DYC).

    Example:
        >>> import torch
        >>> GlobalAttention(64, 64, 4, per_channel=True)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 4, 64])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_kernels: int,
        *,
        per_channel: bool = False,
        rd_ratio: float = 0.25,
        rd_extra: int = 1,
        fc1_bias: bool = False,
        fc2_bias: bool = True,
        mirror: bool = False,
        temperature: float = 30.0,
    ):
        super().__init__(temperature)
        hidden = max(1, int(in_channels * rd_ratio) + rd_extra)
        self.num_kernels = num_kernels
        self.per_channel = per_channel
        self.mirror = mirror
        self.fc1 = nn.Linear(in_channels, hidden, bias=fc1_bias)
        self.fc2 = nn.Linear(hidden, num_kernels * (out_channels if per_channel else 1), bias=fc2_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both weights from He's normal distribution (fan-out) and zero the biases."""
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if self.mirror:
            mirror_(self.fc1.weight)

    def branch(self) -> GlobalBranch | None:
        """Return the parameters, for operators that run the whole layer at once.

        None where somebody looks at the parts or changed them: hooks, parametrisations, other kinds of linear layers.
        """
        fc1, fc2 = self._modules["fc1"], self._modules["fc2"]
        if type(fc1) is not nn.Linear or type(fc2) is not nn.Linear or _has_any_global_hook():
            return None
        for module in (self, fc1, fc2):
            if (
                module._forward_hooks
                or module._forward_pre_hooks
                or module._backward_hooks
                or module._backward_pre_hooks
                or "forward" in module.__dict__
            ):
                return None
        # The dictionaries themselves: attribute access of modules is slow beside a layer that takes microseconds.
        first, second = fc1._parameters, fc2._parameters
        if any("weight" not in kept or "bias" not in kept for kept in (first, second)):
            return None  # replicas of nn.DataParallel keep plain tensors elsewhere
        return GlobalBranch(
            first["weight"], first["bias"], second["weight"], second["bias"], self._buffers["temperature"]
        )

    def logits(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, K)`` or ``(B, K, C_out)``; the outputs of fc2 are kernel-major."""
        z = self.fc2(torch.relu(self.fc1(x.mean((2, 3)))))
        return z.unflatten(1, (self.num_kernels, -1)) if self.per_channel else z
