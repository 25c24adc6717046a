"""Argument checks shared by the operators: shapes, strides, dtypes, and the autocast cast."""

import torch
import torch.autograd.forward_ad
from torch import Tensor

from ops.errors import ArgumentError

IntPair = int | tuple[int, int]

# Asked once: before PyTorch 2.12 the question itself cannot be traced by torch.compile.
_AUTOCAST_DEVICES = frozenset(d for d in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(d))


def pair(argument: str, value: IntPair, minimum: int) -> tuple[int, int]:
    """Return ``value`` as ``(vertical, horizontal)``, each at least ``minimum``."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, tuple | list) else ()
    # bool is a kind of int in Python, but True pixels are a mistake.
    if len(both) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v >= minimum for v in both):
        raise ArgumentError(argument, repr(value), f"one int or a pair of ints, each at least {minimum}")
    return both


def positive_int(argument: str, value: int) -> int:
    """Return ``value``; raise unless it is an int, at least 1 (True is none, though Python takes it for 1)."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(argument, repr(value), "an int, at least 1")
    if value < 1:
        raise ArgumentError(argument, value, "at least 1")
    return value


def padding_pair(padding: IntPair | str, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]):
    """Return the zero padding as ``(vertical, horizontal)``; ``"valid"`` and ``"same"`` mean what F.conv2d means."""
    if not isinstance(padding, str):
        return pair("padding", padding, 0)
    if padding == "valid":
        return (0, 0)
    span = tuple(d * (k - 1) for k, d in zip(kernel, dilation))
    if padding != "same" or stride != (1, 1) or any(s % 2 for s in span):
        raise ArgumentError(
            "padding",
            f"{padding!r} with stride {stride}, kernel {tuple(kernel)} and dilation {dilation}",
            "ints, 'valid', or 'same' with stride 1 and kernels of odd extent",
        )
    return (span[0] // 2, span[1] // 2)


def features(x: Tensor) -> None:
    """Check that ``x`` is a floating-point batch of feature maps."""
    if not isinstance(x, Tensor):
        raise ArgumentError("x", type(x).__name__, "a tensor")
    if x.dim() != 4 or not x.is_floating_point():
        raise ArgumentError("x", f"shape {tuple(x.shape)}, {x.dtype}", "(B, C, H, W), floating point")
    if 0 in x.shape:
        raise ArgumentError("x", f"shape {tuple(x.shape)}", "at least one sample, channel and pixel")


def companion(argument: str, tensor: Tensor, x: Tensor, shape: str, fits: bool) -> None:
    """Check that ``tensor`` has the described ``shape`` and the device and dtype of ``x``."""
    if not fits:
        raise ArgumentError(argument, f"shape {tuple(tensor.shape)}", f"{shape} for x of shape {tuple(x.shape)}")
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise ArgumentError(
            argument, f"{tensor.dtype} on {tensor.device}", f"{x.dtype} on {x.device}, the dtype and device of x"
        )


def output_size(size: tuple[int, int], kernel, stride, padding, dilation) -> tuple[int, int]:
    """Return a convolution's output size ``(H', W')``; sizes and windows are pairs of pixels, symbolic ones too."""
    rows, columns = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )
    return rows, columns


def bank(x: Tensor, weight: Tensor, groups: int) -> None:
    """Check that ``weight`` is a bank ``(K, C_out, C_in/groups, kH, kW)`` for ``x``."""
    if weight.dim() != 5:
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}", "(K, C_out, C_in/groups, kH, kW)")
    out_channels, in_channels = weight.shape[1], x.shape[1]
    if not isinstance(groups, int) or groups < 1 or in_channels % groups or out_channels % groups:
        raise ArgumentError("groups", repr(groups), f"a divisor of C_in {in_channels} and C_out {out_channels}")
    fits = weight.shape[2] * groups == in_channels and 0 not in weight.shape
    companion("weight", weight, x, f"(K, C_out, {in_channels // groups}, kH, kW), none of them 0,", fits)


def window(x: Tensor, kernel, stride: IntPair, padding: IntPair | str, dilation: IntPair):
    """Check the geometry of a call on ``x``; returns stride, padding and dilation, a pair of pixels each."""
    stride, dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
    padding = padding_pair(padding, kernel, stride, dilation)
    if min(output_size(x.shape[2:], kernel, stride, padding, dilation)) < 1:
        raise ArgumentError(
            "x",
            f"{x.shape[2]} x {x.shape[3]} pixels",
            f"enough pixels for a kernel of {kernel[0]} x {kernel[1]} with dilation {dilation} and padding {padding}",
        )
    return stride, padding, dilation


def transformed() -> bool:
    """Tell whether forward-mode differentiation or a transform of torch.func is under way."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def autocasts(x: Tensor) -> bool:
    """Tell whether autocast is on for the device of ``x``."""
    device = x.device.type
    return device in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device)


def autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast floating tensors to the autocast dtype of their device while autocast is on (float64 stays)."""
    if not autocasts(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def is_channels_last(x: Tensor) -> bool:
    """Tell whether the channel is the fastest dimension of ``x`` (slices of channels_last tensors included)."""
    return x.shape[1] > 1 and x.stride(1) == 1 and not x.is_contiguous()
