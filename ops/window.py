"""The window of a convolution, stride, padding and dilation: one type from the public call to the kernel."""

from typing import NamedTuple

from torch import Tensor

from ops.errors import ArgumentError

Pair = tuple[int, int]
"""Vertical and horizontal, in pixels."""

IntPair = int | Pair

_MOST_PIXELS = 2**31 - 1  # what PyTorch's convolutions count with, on some devices


class Window(NamedTuple):
    """Stride, padding and dilation in pixels, each vertical and horizontal; unpacks in this order."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @classmethod
    def of(cls, x: Tensor, kernel: Pair, stride: IntPair, padding: IntPair | str, dilation: IntPair) -> "Window":
        """Check the window of a call.

        Args:
            x: Features, ``(B, C, H, W)``.
            kernel: Height and width of the kernels.
            stride: Step in pixels.
            padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
            dilation: Distance of the taps in pixels.

        Raises:
            ArgumentError: A value cannot be used, or the output would be empty.
        """
        stride, dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
        window = cls(stride, padding_pair(padding, kernel, stride, dilation), dilation)
        if min(window.output_size(x.shape[2:], kernel)) < 1:
            need = f"enough pixels for a kernel of {kernel[0]} x {kernel[1]}"
            need += f" with dilation {dilation} and padding {window.padding}"
            raise ArgumentError("x", f"{x.shape[2]} x {x.shape[3]} pixels", need)
        return window

    def output_size(self, size: Pair, kernel: Pair) -> Pair:
        """Return the output size ``(H', W')`` of features and kernels of these sizes, symbolic ones too."""
        rows, columns = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, kernel, self.stride, self.padding, self.dilation)
        )
        return rows, columns


def pair(argument: str, value: IntPair, minimum: int) -> Pair:
    """Return ``value`` as ``(vertical, horizontal)``, each at least ``minimum``."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, tuple | list) else ()
    # bool is a kind of int in Python, but True pixels are a mistake.
    if len(both) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v >= minimum for v in both):
        raise ArgumentError(argument, repr(value), f"one int or a pair of ints, each at least {minimum}")
    if max(both) > _MOST_PIXELS:
        raise ArgumentError(argument, repr(value), f"one int or a pair of ints, each at most {_MOST_PIXELS}")
    return both


def padding_pair(padding: IntPair | str, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
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
