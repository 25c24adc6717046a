"""The efficient attention of EAM-DyNet: a few channels at a coarse resolution instead of all at none.

Ding et al., EAM-DyNet, Appl. Sci. 2021, 11(7), 3111, https://doi.org/10.3390/app11073111. Sizes follow from the
parameters and FLOPs that the paper prints; what the selections mean follows from their names, and softmax is a choice
that no printed number settles.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.layers.adaptive_pool import adaptive_pool
from dyc.layers.attention import Attention, mirror_
from dyc.layers.channel_reduction import build_selection
from dyc.layers.kinds import register_attention
from ops import positive_int, unknown_name, wants_constant_attributes

POOLS = ("avg", "max")
NORMALIZERS = ("softmax", "sigmoid")


class EfficientAttention(Attention):
    """Select ``n`` channels, pool them to ``p x p`` pixels, and map these to weights with two linear layers.

    ``softmax(fc2(relu(fc1(adaptive_avg_pool2d(select(x), p).flatten(1)))) / temperature)`` over the kernels, one
    weight per kernel. Maps smaller than ``p x p`` are allowed: adaptive pooling then repeats pixels.

    Args:
        in_channels: Channels of the features, ``C``.
        out_channels: Output channels of the convolution; the weights are shared by all of them.
        num_kernels: Kernels in the bank, ``K``.
        select: ``"rcr"`` (random channels, fixed when the layer is made), ``"cgr"`` (contiguous groups, averaged),
            ``"cgr_max"`` (their maximum), ``"every"`` (every fourth channel), ``"quarter"`` (a contiguous quarter).
        channels: Channels or groups of ``"rcr"``, ``"cgr"`` and ``"cgr_max"``: 4 by default; all where ``C`` is less.
        quarter: Which quarter, 0 to 3.
        resample: ``"rcr"`` only: ``"never"``, or ``"forward"`` for other channels in each training pass.
        seed: ``"rcr"`` only: makes the drawing repeatable; torch's generator if None.
        pool_size: Pixels of the pooled map, ``p``, in each direction.
        pool: ``"avg"`` or ``"max"``.
        hidden: Width between the linear layers, which have no biases.
        normalizer: ``"softmax"``, or ``"sigmoid"`` for weights that do not sum to one and have no temperature.
        temperature: Softmax temperature.

    Shape:
        ``(B, C, H, W)`` to ``(B, K)``.

    Raises:
        ArgumentError: A name is unknown, or a value is out of range or belongs to another selection.

    Source: https://doi.org/10.3390/app11073111

    Example:
        >>> import torch
        >>> EfficientAttention(64, 64, 4, select="cgr")(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_kernels: int,
        *,
        select: str = "rcr",
        channels: int | None = None,
        quarter: int | None = None,
        resample: str | None = None,
        seed: int | None = None,
        pool_size: int = 5,
        pool: str = "avg",
        hidden: int = 10,
        normalizer: str = "softmax",
        temperature: float = 30.0,
    ):
        super().__init__(temperature)
        if pool not in POOLS:
            raise unknown_name("pool", pool, POOLS)
        if normalizer not in NORMALIZERS:
            raise unknown_name("normalizer", normalizer, NORMALIZERS)
        for name, value in (("pool_size", pool_size), ("hidden", hidden)):
            positive_int(name, value)
        self.pool_size, self.pool, self.normalizer = pool_size, pool, normalizer
        self.sums_to_one = normalizer == "softmax"
        if not self.sums_to_one:
            self.temperature = None
        self.select = build_selection(
            select, in_channels, channels=channels, quarter=quarter, resample=resample, seed=seed
        )
        self.fc1 = nn.Linear(self.select.count * pool_size**2, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, num_kernels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both weights from He's normal distribution by their fan-in, hidden units in opposite pairs."""
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        mirror_(self.fc1.weight)

    def logits(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, K)``."""
        chosen = self.select(x)
        if torch.jit.is_scripting():  # noqa: SIM108 (TorchScript would compile both sides of an expression)
            any_size = False
        else:
            any_size = wants_constant_attributes()
        if any_size:
            pooled = self._pooled_for_any_size(chosen)
        elif self.pool == "max":
            pooled = F.adaptive_max_pool2d(chosen, self.pool_size)
        else:
            pooled = F.adaptive_avg_pool2d(chosen, self.pool_size)
        return self.fc2(torch.relu(self.fc1(pooled.flatten(1))))

    @torch.jit.unused
    def _pooled_for_any_size(self, x: Tensor) -> Tensor:
        return adaptive_pool(x, self.pool_size, self.pool)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights of the kernels, ``(B, K)``."""
        if self.temperature is None:
            return torch.sigmoid(self.logits(x))
        else:  # not after the return: TorchScript would compile that
            return torch.softmax(self.logits(x) / self.temperature, dim=1)

    def extra_repr(self) -> str:
        """Describe the arguments."""
        return f"pool_size={self.pool_size}, pool={self.pool!r}, normalizer={self.normalizer!r}"


register_attention("eam", EfficientAttention)
