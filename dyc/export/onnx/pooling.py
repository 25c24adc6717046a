"""Adaptive pooling to ``p x p`` pixels in ONNX, which has no operator for it, exact for every height and width.

Cell i of n pixels covers those from ``floor(i * n / p)`` to ``ceil((i + 1) * n / p)``: pixel h belongs to it where
``p * h < (i + 1) * n`` and ``p * (h + 1) > i * n``.
"""

import numpy as np
import onnx_ir as ir

from dyc.export.onnx.builder import Builder
from dyc.export.onnx.sizes import size_keys


def adaptive_pool(b: Builder, x: ir.Value, cells: int, kind: str, *, like: ir.Value) -> ir.Value:
    """Return ``(B, C, p, p)``.

    Args:
        b: The builder.
        x: ``(B, C, H, W)``.
        cells: ``p``.
        kind: ``"avg"`` or ``"max"``.
        like: A value of the graph as it was traced that has the size of ``x``.
    """
    rows, columns = (_cells(b, like, axis, cells) for axis in (0, 1))
    if kind == "avg":
        shares = [_shared(b, ("shares", key), lambda m=mask: _averaging(b, m)) for key, mask in (rows, columns)]
        across = b.node("MatMul", [shares[0], x], "attention/pool_rows")
        upright = _shared(b, ("upright", columns[0]), lambda: b.node("Transpose", [shares[1]], "columns", perm=[1, 0]))
        return b.node("MatMul", [across, upright], "attention/pool")
    for axis, (_, mask) in enumerate((rows, columns)):
        x = _maxima(b, x, mask, axis)
    return x


def _shared(b: Builder, key: tuple, make):
    """Return what was made for the key before, or make it, under a name of its own rather than a layer's."""
    if key not in b.shared:
        path, b.path = b.path, f"pooling{sum(k[0] == key[0] for k in b.shared if isinstance(k, tuple))}"
        b.shared[key] = make()
        b.path = path
    return b.shared[key]


def _cells(b: Builder, like: ir.Value, axis: int, cells: int) -> tuple[tuple, ir.Value]:
    """Return a key, and ``(p, n)``: which pixels belong to which cell."""
    key = (cells, size_keys(b, like)[axis])

    def mask() -> ir.Value:
        size = b.node("Shape", [like], "size", start=2 + axis, end=3 + axis)
        stop = b.node("Mul", [b.node("Squeeze", [size], "pixels"), b.integers(cells, shape=())], "stop")
        pixels = b.node("Range", [b.integers(0, shape=()), stop, b.integers(cells, shape=())], "range")
        starts = b.node("Mul", [b.integers(*range(cells), shape=(cells, 1)), size], "starts")
        ends = b.node("Add", [starts, size], "ends")
        nexts = b.node("Add", [pixels, b.integers(cells, shape=())], "nexts")
        return b.node(
            "And", [b.node("Less", [pixels, ends], "before"), b.node("Greater", [nexts, starts], "after")], "cells"
        )

    return key, _shared(b, ("mask", key), mask)


def _averaging(b: Builder, mask: ir.Value) -> ir.Value:
    ones = b.node("Cast", [mask], "ones", to=ir.DataType.FLOAT)
    return b.node("Div", [ones, b.node("ReduceSum", [ones, b.integers(1)], "counts", keepdims=1)], "shares")


def _maxima(b: Builder, x: ir.Value, mask: ir.Value, axis: int) -> ir.Value:
    """Reduce rows (axis 0) or columns (1) of ``(B, C, H, W)`` to the largest of each cell."""
    lowest = b.constant(np.float32(np.finfo(np.float32).min), "attention/lowest")
    if axis == 0:  # (B, C, 1, H, W) and (p, H, 1)
        spread = b.node("Unsqueeze", [x, b.integers(2)], "attention/by_row")
        mask, reduced = b.node("Unsqueeze", [mask, b.integers(2)], "attention/row_cells"), 3
    else:  # (B, C, p, 1, W) and (p, W)
        spread, reduced = b.node("Unsqueeze", [x, b.integers(3)], "attention/by_column"), 4
    seen = b.node("Where", [mask, spread, lowest], "attention/seen")
    return b.node("ReduceMax", [seen, b.integers(reduced)], "attention/pool", keepdims=0)
