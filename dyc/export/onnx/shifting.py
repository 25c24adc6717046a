"""The re-used channels of a selective layer in ONNX: shifted copies, by convolutions with constant kernels."""

import numpy as np
import onnx_ir as ir

from dyc.export.onnx.builder import Builder


def shifted_channels(
    b: Builder, x: ir.Value, channels: int, slots: np.ndarray, sources: np.ndarray, shift: np.ndarray
) -> ir.Value:
    """Do as :func:`ops.rewire_channels`.

    Sampling between four pixels is a convolution with four weights; a border that repeats is a padding.

    Args:
        b: The builder.
        x: ``(B, C, H, W)``.
        channels: ``C``.
        slots: Channels to replace, ``(R,)``.
        sources: Channels to read, ``(R,)``.
        shift: Distances in pixels, ``(R, 2)``, to the right and down.
    """
    whole = np.floor(shift).astype(int)
    part = (shift - whole).astype(np.float32)
    before, after = np.maximum(-whole.min(0), 0), np.maximum(whole.max(0) + 1, 0)  # (horizontal, vertical)
    width, height = before + after + 1
    kernels = np.zeros((len(slots), 1, height, width), np.float32)
    for r, ((right, down), (x_part, y_part)) in enumerate(zip(whole + before, part)):
        kernels[r, 0, down : down + 2, right : right + 2] += np.outer([1 - y_part, y_part], [1 - x_part, x_part])
    moved = b.node("Gather", [x, b.integers(*sources.tolist())], "sources", axis=1)
    pads = (0, 0, before[1], before[0], 0, 0, after[1], after[0])
    moved = b.node("Pad", [moved, b.integers(*map(int, pads))], "border", mode="edge")
    weight = b.constant(kernels, "shift/weight")
    moved = b.node("Conv", [moved, weight], "shift", group=len(slots), kernel_shape=[int(height), int(width)])
    both = b.node("Concat", [x, moved], "both", axis=1)
    order = np.arange(channels)
    order[slots] = channels + np.arange(len(slots))
    return b.node("Gather", [both, b.integers(*order.tolist())], "rewired", axis=1)
