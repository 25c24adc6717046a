"""The two forms of a dynamic convolution in ONNX: its kernels are mixed, or its feature maps.

In both, the batch, height and width are free, and no convolution has a group count or weights that are computed.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from dyc.export.onnx.attention import Shares
from dyc.export.onnx.builder import Builder


@dataclass
class Bank:
    """The parameters and the window of a dynamic convolution.

    Args:
        weight: ``(K, C_out, C_in/groups, kH, kW)``.
        bias: ``(K, C_out)``, mixed as the kernels are, or None.
        groups: Groups.
        window: Attributes of the node ``Conv``: strides, dilations, and pads or auto_pad.
        shift: ``(C_out,)``, added to the result; what a BatchNorm that was folded into the bank leaves. Or None.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    groups: int
    window: dict[str, Any] = field(default_factory=dict)
    shift: np.ndarray | None = None

    def fold(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Take over ``y * scale + shift``, both ``(C_out,)``."""
        self.weight = self.weight * scale[:, None, None, None]
        self.bias = None if self.bias is None else self.bias * scale
        self.shift = shift if self.shift is None else self.shift * scale + shift

    @property
    def taps(self) -> int:
        """Taps of a kernel."""
        return self.weight.shape[3] * self.weight.shape[4]

    @property
    def plain(self) -> bool:
        """Whether each output pixel sees one pixel of the input, at its own place."""
        return self.taps == 1 and not any(self.window.get("pads", ())) and set(self.window["strides"]) == {1}


def by_features(b: Builder, x: ir.Value, bank: Bank, shares: Shares) -> ir.Value:
    """Convolve with each kernel, a constant, then add up the maps, each multiplied by its share.

    Where the shares sum to one, the last kernel's map is taken whole, and the others are of the differences from it:
    one product less.
    """
    kernels, window = bank.weight, {**bank.window, "group": bank.groups, "kernel_shape": list(bank.weight.shape[3:])}
    if shares.taps is not None:
        x = _planes(b, x, bank, shares)
        kernels = kernels.reshape(*kernels.shape[:2], -1, 1, 1)
        window = {"group": bank.groups, "kernel_shape": [1, 1]}
    elif shares.inputs is not None:
        x = b.node("Mul", [x, shares.inputs], "inputs")
    biases = np.zeros(kernels.shape[:2], np.float32) if bank.bias is None else bank.bias
    shift = bank.shift
    if shares.sums_to_one:
        base, base_bias = kernels[-1], biases[-1]
        if shift is not None and shares.outputs is None:
            base_bias, shift = base_bias + shift, None
        y = _convolve(b, x, base, base_bias, window, f"kernel{len(kernels) - 1}")
        kernels, biases = kernels[:-1] - base, biases[:-1] - biases[-1]
    else:
        y = None
    parts = shares.each(b) if len(kernels) else []
    for k in range(len(kernels)):
        one = _convolve(b, x, kernels[k], biases[k], window, f"kernel{k}")
        one = b.node("Mul", [one, parts[k]], f"share{k}")
        y = one if y is None else b.node("Add", [y, one], f"sum{k}")
    return _finished(b, y, shares, shift)


def by_kernels(b: Builder, x: ir.Value, bank: Bank, shares: Shares) -> ir.Value:
    """Mix the kernels, and multiply them with copies of what each output pixel sees, sample by sample."""
    kernels, out_channels, per_group, *_ = bank.weight.shape
    groups, taps = bank.groups, bank.taps
    if bank.plain and shares.taps is None:
        planes = x if shares.inputs is None else b.node("Mul", [x, shares.inputs], "inputs")
    else:
        planes = _planes(b, x, bank, shares)
    matrix = shares.matrix(b)
    rows, split = per_group * taps, (groups,) if groups > 1 else ()
    mixed = _mix(b, matrix, bank.weight.reshape(kernels, out_channels, rows), shares, "kernels")
    if groups > 1 or shares.channels == 1:
        mixed = b.reshape(mixed, 0, *split, out_channels // groups, rows, name="kernels/mixed")
    seen = b.reshape(planes, 0, *split, rows, -1, name="pixels")
    y = b.node("MatMul", [mixed, seen], "product")
    size = b.node("Shape", [planes], "size", start=2)
    shape = b.node("Concat", [b.integers(0, out_channels), size], "shape", axis=0)
    y = b.node("Reshape", [y, shape], "maps")
    if bank.bias is not None:
        bias = _mix(b, matrix, bank.bias[:, :, None], shares, "bias")
        y = b.node("Add", [y, b.reshape(bias, 0, out_channels, 1, 1, name="bias/mixed")], "biased")
    return _finished(b, y, shares, bank.shift)


def _mix(b: Builder, matrix: ir.Value, bank: np.ndarray, shares: Shares, name: str) -> ir.Value:
    """Return the mixtures of ``(K, C_out, n)``: ``(B, C_out * n)``, or ``(B, C_out, n)`` with shares per channel."""
    if shares.channels == 1:
        return b.node("MatMul", [matrix, b.constant(bank.reshape(len(bank), -1), f"{name}/bank")], f"{name}/mix")
    product = b.node("MatMul", [matrix, b.constant(bank.transpose(1, 0, 2), f"{name}/bank")], f"{name}/mix")
    return b.node("Transpose", [product], f"{name}/by_sample", perm=[1, 0, 2])


def _planes(b: Builder, x: ir.Value, bank: Bank, shares: Shares) -> ir.Value:
    """Return ``(B, C_in * taps, H', W')``: a plane for what each tap of the window sees, scaled where shares say so.

    A convolution with kernels of a single one copies for any stride, dilation and padding.
    """
    channels, taps, kernel = bank.weight.shape[2] * bank.groups, bank.taps, bank.weight.shape[3:]
    one_hot = np.tile(np.eye(taps, dtype=np.float32).reshape(taps, 1, *kernel), (channels, 1, 1, 1))
    name = f"one_hot/{channels}x{kernel[0]}x{kernel[1]}"
    if name not in b.shared:
        path, b.path = b.path, ""
        b.shared[name] = b.constant(one_hot, name)
        b.path = path
    attrs = {**bank.window, "group": channels, "kernel_shape": list(kernel)}
    planes = b.node("Conv", [x, b.shared[name]], "planes", **attrs)
    scale = shares.inputs
    if shares.taps is not None:
        scale = b.reshape(shares.taps, 0, 1, taps, 1, name="taps")
        if shares.inputs is not None:
            scale = b.node("Mul", [shares.inputs, scale], "inputs_taps")
        else:
            scale = b.node("Expand", [scale, b.integers(1, channels, 1, 1)], "inputs_taps")
        scale = b.reshape(scale, 0, -1, 1, 1, name="scales")
    elif scale is not None and taps > 1:
        scale = b.node("Expand", [scale, b.integers(1, 1, taps, 1)], "inputs_taps")
        scale = b.reshape(scale, 0, -1, 1, 1, name="scales")
    return planes if scale is None else b.node("Mul", [planes, scale], "scaled")


def _convolve(
    b: Builder, x: ir.Value, kernel: np.ndarray, bias: np.ndarray, window: dict[str, Any], name: str
) -> ir.Value:
    inputs = [x, b.constant(kernel, f"{name}/weight")]
    if bias.any():
        inputs.append(b.constant(bias, f"{name}/bias"))
    return b.node("Conv", inputs, name, **window)


def _finished(b: Builder, y: ir.Value, shares: Shares, shift: np.ndarray | None) -> ir.Value:
    if shares.outputs is not None:
        y = b.node("Mul", [y, shares.outputs], "outputs")
    if shift is not None:
        y = b.node("Add", [y, b.constant(shift[:, None, None], "shift/values")], "shift")
    return y
