"""Argument checks shared by the operators: shapes, dtypes, devices, and the autocast cast."""

import torch
import torch.autograd.forward_ad
from torch import Tensor

from ops.errors import ArgumentError

# Asked once: before PyTorch 2.12 the question itself cannot be traced by torch.compile.
_AUTOCAST_DEVICES = frozenset(d for d in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(d))

FLOATING = frozenset((torch.float64, torch.float32, torch.bfloat16, torch.float16))
"""What there is arithmetic for; eight bits are for storage."""

_CAST = FLOATING - {torch.float64}


def positive_int(argument: str, value: int) -> int:
    """Return ``value``; raise unless it is an int, at least 1 (True is none, though Python takes it for 1)."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(argument, repr(value), "an int, at least 1")
    if value < 1:
        raise ArgumentError(argument, value, "at least 1")
    return value


def tensor(argument: str, value: Tensor) -> None:
    """Check that ``value`` is a tensor, and a dense one: others, such as sparse tensors, have no convolution."""
    if not isinstance(value, Tensor):
        raise ArgumentError(argument, type(value).__name__, "a tensor")
    if value.layout != torch.strided:
        raise ArgumentError(argument, f"a tensor of layout {value.layout}", "a dense one")


def features(x: Tensor) -> None:
    """Check that ``x`` is a floating-point batch of feature maps, which may have no samples."""
    tensor("x", x)
    if x.dim() != 4 or x.dtype not in FLOATING:
        need = "(B, C, H, W), floating point of 16 bits or more"
        if x.dim() == 3:  # a convolution of PyTorch takes one image; here each sample has its own row of attention
            need += ": a batch, which x.unsqueeze(0) makes of one image"
        raise ArgumentError("x", f"shape {tuple(x.shape)}, {x.dtype}", need)
    if 0 in x.shape[1:]:
        raise ArgumentError("x", f"shape {tuple(x.shape)}", "at least one channel and pixel")


def companion(argument: str, tensor: Tensor, x: Tensor, shape: str, fits: bool) -> None:
    """Check that ``tensor`` has the described ``shape`` and the device and dtype of ``x``."""
    if not fits:
        raise ArgumentError(argument, f"shape {tuple(tensor.shape)}", f"{shape} for x of shape {tuple(x.shape)}")
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise ArgumentError(
            argument, f"{tensor.dtype} on {tensor.device}", f"{x.dtype} on {x.device}, the dtype and device of x"
        )


def bank(x: Tensor, weight: Tensor, groups: int, *, may_be_empty: bool = False) -> None:
    """Check that ``weight`` is a bank ``(K, C_out, C_in/groups, kH, kW)`` for ``x``.

    ``may_be_empty`` allows for no kernels: those of no samples.
    """
    if weight.dim() != 5:
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}", "(K, C_out, C_in/groups, kH, kW)")
    out_channels, in_channels = weight.shape[1], x.shape[1]
    # True is an int in Python, but no number of groups.
    is_int = isinstance(groups, int) and not isinstance(groups, bool)
    if not is_int or groups < 1 or in_channels % groups or out_channels % groups:
        raise ArgumentError("groups", repr(groups), f"a divisor of C_in {in_channels} and C_out {out_channels}")
    sizes = weight.shape[1:] if may_be_empty else weight.shape
    fits = weight.shape[2] * groups == in_channels and 0 not in sizes
    companion("weight", weight, x, f"(K, C_out, {in_channels // groups}, kH, kW), none of them 0,", fits)


def bias(given: Tensor | None, weight: Tensor, x: Tensor) -> None:
    """Check that ``given`` holds a bias for each kernel and output channel of the bank ``weight``, or is None."""
    if given is not None:
        companion("bias", given, x, f"{tuple(weight.shape[:2])} (K, C_out)", given.shape == weight.shape[:2])


def has_values(tensor: Tensor) -> bool:
    """Tell whether ``tensor`` is one of PyTorch's own; others, such as fake tensors, stand for something else."""
    return type(tensor) in (Tensor, torch.nn.Parameter)


def transformed() -> bool:
    """Tell whether forward-mode differentiation or a transform of torch.func is under way."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def autocasts(x: Tensor) -> bool:
    """Tell whether autocast is on for the device of ``x``."""
    device = x.device.type
    return device in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device)


def autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast floating tensors to the autocast dtype of their device while autocast is on (float64 and others stay)."""
    if not autocasts(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(t if t is None or t.dtype not in _CAST else t.to(dtype) for t in tensors)
