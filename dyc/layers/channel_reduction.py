"""Which channels an attention branch looks at: the reductions of EAM-DyNet (Appl. Sci. 2021, 11(7), 3111).

Each selection maps features ``(B, C, H, W)`` to ``(B, n, H, W)`` and knows ``n`` as ``count``. A layer with fewer
channels than were asked for uses all of them.
"""

import torch
from torch import Tensor, nn

from ops import ArgumentError, positive_int, unknown_name


class RandomChannels(nn.Module):
    """RCR: channels drawn at random when the layer is made, and kept in a persistent buffer, ``selected``.

    The linear layer that follows ties its weights to these channels, so a checkpoint must keep them.

    Args:
        in_channels: Channels of the features.
        channels: Channels to draw, without repetition and in ascending order.
        resample: ``"never"``, or ``"forward"`` for other channels in each training pass; evaluation always uses
            those of the buffer.
        seed: Makes the drawing a function of this number; None takes torch's generator, as the weights do, so that
            each layer of a network draws its own.
    """

    def __init__(self, in_channels: int, channels: int, resample: str = "never", seed: int | None = None):
        super().__init__()
        if resample not in ("never", "forward"):
            raise unknown_name("resample", resample, ("never", "forward"))
        self.in_channels, self.count, self.resample, self.seed = in_channels, min(channels, in_channels), resample, seed
        self.register_buffer("selected", torch.empty(self.count, dtype=torch.long))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the channels."""
        generator = None if self.seed is None else torch.Generator("cpu").manual_seed(self.seed)
        order = torch.randperm(self.in_channels, generator=generator, device="cpu")
        self.selected.copy_(order[: self.count].sort().values)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        if self.training and self.resample == "forward":
            order = torch.randperm(self.in_channels, device=x.device)
            return x.index_select(1, order[: self.count].sort().values)
        return x.index_select(1, self.selected)

    def extra_repr(self) -> str:
        """Describe the arguments."""
        return f"{self.in_channels}, channels={self.count}, resample={self.resample!r}, seed={self.seed}"


class GroupedChannels(nn.Module):
    """CGR: contiguous groups of channels, each averaged (CGR) or reduced to its maximum (CGR-MAX).

    Where the groups do not divide the channels, the first ``C % n`` groups have one channel more.

    Args:
        in_channels: Channels of the features.
        channels: Groups.
        maximum: Take each group's maximum instead of its mean.
    """

    def __init__(self, in_channels: int, channels: int, maximum: bool = False):
        super().__init__()
        self.in_channels, self.count, self.maximum = in_channels, min(channels, in_channels), maximum

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        if self.in_channels % self.count == 0:
            groups = x.unflatten(1, (self.count, -1))
            return groups.amax(2) if self.maximum else groups.mean(2)
        parts = x.tensor_split(self.count, 1)
        return torch.cat([p.amax(1, True) if self.maximum else p.mean(1, True) for p in parts], 1)

    def extra_repr(self) -> str:
        """Describe the arguments."""
        return f"{self.in_channels}, channels={self.count}, maximum={self.maximum}"


class SlicedChannels(nn.Module):
    """A slice of the channels: every fourth one, or a contiguous quarter.

    Args:
        start: First channel.
        stop: First channel that is left out.
        step: Distance of two channels.
    """

    def __init__(self, start: int, stop: int, step: int = 1):
        super().__init__()
        self.slice = (start, stop, step)
        self.count = len(range(start, stop, step))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        start, stop, step = self.slice
        return x[:, start:stop:step]

    def extra_repr(self) -> str:
        """Describe the arguments."""
        return "start={}, stop={}, step={}".format(*self.slice)


SELECTIONS = {
    "rcr": ("channels", "resample", "seed"),
    "cgr": ("channels",),
    "cgr_max": ("channels",),
    "every": (),
    "quarter": ("quarter",),
}
"""The selections by name, with the arguments that each takes."""


def build_selection(
    select: str,
    in_channels: int,
    *,
    channels: int | None = None,
    quarter: int | None = None,
    resample: str | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build a selection by name; an argument that it does not take is an error rather than ignored.

    Args:
        select: ``"rcr"``, ``"cgr"``, ``"cgr_max"``, ``"every"`` (channels 0, 4, 8, ...) or ``"quarter"``.
        in_channels: Channels of the features.
        channels: Channels (RCR) or groups (CGR) to reduce to; 4 if None.
        quarter: Which contiguous quarter, 0 to 3; 0 if None.
        resample: See :class:`RandomChannels`.
        seed: See :class:`RandomChannels`.

    Raises:
        ArgumentError: The name is unknown, or an argument is out of range or belongs to another selection.
    """
    if select not in SELECTIONS:
        raise unknown_name("select", select, SELECTIONS)
    given = {"channels": channels, "quarter": quarter, "resample": resample, "seed": seed}
    for name, value in given.items():
        if value is not None and name not in SELECTIONS[select]:
            raise ArgumentError(name, sentence=f"has no meaning with select={select!r}; leave it out")
    channels = 4 if channels is None else channels
    positive_int("channels", channels)
    quarter = 0 if quarter is None else quarter
    if not isinstance(quarter, int) or quarter not in (0, 1, 2, 3):
        raise ArgumentError("quarter", repr(quarter), "0, 1, 2 or 3")
    if seed is not None and not isinstance(seed, int):
        raise ArgumentError("seed", repr(seed), "an int")
    if select == "rcr":
        return RandomChannels(in_channels, channels, resample or "never", seed)
    if select == "every":
        return SlicedChannels(0, in_channels, 4)
    if select == "quarter":
        start = quarter * in_channels // 4
        return SlicedChannels(start, max((quarter + 1) * in_channels // 4, start + 1))
    return GroupedChannels(in_channels, channels, maximum=select == "cgr_max")
