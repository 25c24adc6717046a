"""The mean of a loss over an epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric


class Mean(MeanMetric):
    """Weighted mean in float32, whatever the precision of the network; NaN once a value was NaN.

    Lightning's ``bf16-true`` and ``16-true`` convert modules by ``Module.to``, which torchmetrics lets reach its sums:
    a sum in bfloat16 stands still after some hundred images, one in float16 overflows.
    """

    def __init__(self) -> None:
        # The default of torchmetrics leaves NaNs out of the mean, and a broken network would look well.
        super().__init__(nan_strategy="disable")
        self.set_dtype(torch.float32)  # Lightning makes the network's type the default while it is built

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "Mean":
        """Follow moves to another device, and keep the type."""
        super()._apply(fn, *args, **kwargs)
        return self if self.mean_value.dtype == torch.float32 else self.set_dtype(torch.float32)
