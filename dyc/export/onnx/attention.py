"""The weights of a bank's kernels inside an ONNX graph, in the shapes that the two forms read."""

from dataclasses import dataclass

import onnx_ir as ir

from dyc.export.onnx.builder import Builder


@dataclass
class Shares:
    """The weights of the kernels of one dynamic convolution.

    ``y = outputs * sum_k shares[k] * conv(inputs * taps * x, bank[k])``; what is None is one.

    Args:
        flat: ``(B, K, 1, 1)``, or ``(B, K * C_out, 1, 1)`` with the kernel varying slowest.
        kernels: ``K``.
        channels: ``C_out`` if each output channel has weights of its own, else 1.
        sums_to_one: The weights of the kernels do.
        inputs: ``(B, C_in, 1, 1)``.
        taps: ``(B, kH * kW, 1, 1)``.
        outputs: ``(B, C_out, 1, 1)``.
    """

    flat: ir.Value | None
    kernels: int
    channels: int = 1
    sums_to_one: bool = False
    inputs: ir.Value | None = None
    taps: ir.Value | None = None
    outputs: ir.Value | None = None

    def each(self, b: Builder) -> list[ir.Value]:
        """Return for each kernel ``(B, 1, 1, 1)`` or ``(B, C_out, 1, 1)``."""
        return b.split(self.flat, [self.channels] * self.kernels, "attention/split")

    def matrix(self, b: Builder) -> ir.Value:
        """Return ``(B, K)``, or ``(C_out, B, K)`` where each output channel has weights of its own."""
        if self.channels == 1:
            return b.reshape(self.flat, 0, -1, name="attention/matrix")
        by_kernel = b.reshape(self.flat, 0, self.kernels, self.channels, name="attention/by_kernel")
        return b.node("Transpose", [by_kernel], "attention/matrix", perm=[2, 0, 1])


def softmax(b: Builder, logits: ir.Value, kernels: int, channels: int) -> Shares:
    """Return the shares from logits ``(B, K * C_out, 1, 1)``."""
    if channels == 1:
        return Shares(b.node("Softmax", [logits], "attention/softmax", axis=1), kernels, 1, True)
    by_kernel = b.reshape(logits, 0, kernels, channels, name="attention/logits")
    shares = b.node("Softmax", [by_kernel], "attention/softmax", axis=1)
    return Shares(b.reshape(shares, 0, -1, 1, 1, name="attention/shares"), kernels, channels, True)
