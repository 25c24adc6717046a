"""One call of an operator, described: all that a backend is asked about."""

from typing import NamedTuple

import torch
from torch import Tensor

from ops.checks import transformed
from ops.layout import is_channels_last
from ops.window import Pair, Window


class Problem(NamedTuple):
    """What a backend needs to know of a call to say whether it can run it; sizes in pixels.

    ``kernel``, ``window`` and ``groups`` describe convolutions, ``out_channels`` those that are not depthwise.
    """

    operator: str
    batch: int
    channels: int
    size: Pair
    dtype: torch.dtype
    device: str
    channels_last: bool
    needs_grad: bool
    kernel: Pair = (1, 1)
    window: Window = Window()
    out_channels: int = 0
    groups: int = 1
    transformed: bool = False  # by torch.func or forward-mode differentiation

    @classmethod
    def of(
        cls,
        operator: str,
        x: Tensor,
        *others: Tensor | None,
        kernel: Pair = (1, 1),
        window: Window = Window(),  # noqa: B008 (immutable)
        out_channels: int = 0,
        groups: int = 1,
    ) -> "Problem":
        """Describe a call on features ``(B, C, H, W)``; ``others`` are the tensors that may ask for gradients too."""
        batch, channels, height, width = x.shape
        asks = x.requires_grad or any(t is not None and t.requires_grad for t in others)
        return cls(
            operator,
            batch,
            channels,
            (height, width),
            x.dtype,
            x.device.type,
            is_channels_last(x),
            torch.is_grad_enabled() and asks,
            (kernel[0], kernel[1]),
            window,
            out_channels,
            groups,
            not torch.compiler.is_compiling() and transformed(),
        )

    def unmet(self, devices: tuple[str, ...], dtypes: tuple[torch.dtype, ...]) -> tuple[str, ...]:
        """Return why a compiled kernel for these devices and dtypes cannot run the call, each as "got ..., need ...".

        Such kernels are opaque to the transforms of torch.func and to forward-mode differentiation.
        """
        reasons = []
        if self.device not in devices:
            reasons.append(f"got device {self.device}, need {' or '.join(devices)}")
        if self.dtype not in dtypes:
            *names, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
            reasons.append(f"got {self.dtype}, need {', '.join(names)} or {last}")
        if self.transformed:
            reasons.append("got torch.func or forward-mode differentiation, need none")
        return tuple(reasons)
