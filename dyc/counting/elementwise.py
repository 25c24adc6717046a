"""Elements that norms, activations and poolings work on, counted operator by operator during one pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ACTIVATIONS = frozenset(
    [
        "celu",
        "elu",
        "gelu",
        "glu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "log_sigmoid_forward",
        "mish",
        "prelu",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "tanh",
    ]
)
NORMS = frozenset(
    [
        "cudnn_batch_norm",
        "miopen_batch_norm",
        "native_batch_norm",
        "native_group_norm",
        "native_layer_norm",
        "_fused_rms_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_no_update",
    ]
)
POOLINGS = frozenset(
    ["_adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "max_pool2d_with_indices"]
)
SAME_FORM = ACTIVATIONS - {"glu", "log_sigmoid_forward"}
"""Activations whose output has the size and type of what they read."""

REDUCTIONS = frozenset(("mean", "amax"))
"""Poolings where they reduce the height and width of ``(B, C, H, W)``."""


def _operation(function: str, args: tuple) -> str | None:
    if function in NORMS:
        return "norm"
    if function in ACTIVATIONS:
        return "activation"
    if function in POOLINGS:
        return "pooling"
    if function in REDUCTIONS and args[0].dim() == 4 and _reduced(args) == {2, 3}:
        return "pooling"
    return None


def _reduced(args: tuple) -> set[int]:
    """Return the dimensions of ``(B, C, H, W)`` that a reduction removes: all of them if it names none."""
    dims = args[1] if len(args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    return {d % 4 for d in dims or range(4)}


class ElementCounter(TorchDispatchMode):
    """Report the operators that run inside this context, however they are called: as modules or as functions.

    Args:
        report: Called with operation, function and elements per image of each.
    """

    def __init__(self, report: Callable[[str, str, int], None]):
        super().__init__()
        self.report = report

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        function = func._schema.name.removeprefix("aten::")
        # In-place forms end in an underscore; they read what they write, so elements are the same.
        in_place, function = function.endswith("_"), function.removesuffix("_")
        operation = _operation(function, args)
        if function in SAME_FORM and args[0].is_meta and args[0].is_floating_point():
            # PyTorch finds the form of the output by rules in Python that take most of the time of a pass.
            output = args[0] if in_place else torch.empty_like(args[0])
        else:
            output = func(*args, **(kwargs or {}))
        if operation is not None:
            first = output[0] if isinstance(output, tuple | list) else output
            counted: torch.Tensor = args[0] if operation == "pooling" else first
            self.report(operation, function, counted.numel())
        return output
