"""Adds the nodes of one layer at a time to an ONNX graph, under the layer's name."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir


class Builder:
    """Makes nodes and constants whose names begin with the layer's path, and puts the nodes into the graph.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: ir.Graph):
        self.graph = graph
        self.path = ""
        self.shared: dict[Any, Any] = {}  # what several layers read, such as the matrices of a pooling
        self._nodes: list[ir.Node] = []
        self._taken: Counter[str] = Counter(node.name for node in graph if node.name)
        self._integers: dict[tuple, ir.Value] = {}

    def start(self, path: str) -> None:
        """Begin the layer at ``path``."""
        self.path, self._nodes = path, []

    def insert_before(self, node: ir.Node) -> None:
        """Put the layer's nodes before ``node``."""
        self.graph.insert_before(node, self._nodes)
        self._nodes = []

    def name(self, name: str) -> str:
        """Return the layer's path and ``name``, with a number if that is taken."""
        name = f"{self.path}/{name}" if name and self.path else name or self.path
        self._taken[name] += 1
        return name if self._taken[name] == 1 else self.name_again(name)

    def name_again(self, name: str) -> str:
        """Return a taken name with the first number that is free."""
        numbered = f"{name}.{self._taken[name] - 1}"
        self._taken[numbered] += 1
        return numbered

    def nodes(self, op: str, inputs: Sequence[ir.Value | None], name: str, outputs: int, **attrs: Any) -> list:
        """Add a node; return its outputs."""
        node = ir.node(op, inputs, attrs, num_outputs=outputs, name=self.name(name))
        for index, value in enumerate(node.outputs):
            value.name = node.name if outputs == 1 else f"{node.name}:{index}"
        self._nodes.append(node)
        return list(node.outputs)

    def node(self, op: str, inputs: Sequence[ir.Value | None], name: str, **attrs: Any) -> ir.Value:
        """Add a node of one output; return it."""
        return self.nodes(op, inputs, name, 1, **attrs)[0]

    def constant(self, values: Any, name: str) -> ir.Value:
        """Return an initializer in single precision."""
        return self._initializer(np.ascontiguousarray(values, dtype=np.float32), self.name(name))

    def integers(self, *values: int, shape: tuple[int, ...] | None = None) -> ir.Value:
        """Return an initializer of whole numbers, the same one for the same numbers."""
        shape = (len(values),) if shape is None else shape
        key = (shape, values)
        if key not in self._integers:
            array = np.array(values, dtype=np.int64).reshape(shape)
            shown = "x".join(map(str, values)) if len(values) < 6 else f"list{len(self._integers)}"
            name = f"int/{shown}" if len(shape) == 1 else f"int/{shown}/{len(shape)}d"
            self._integers[key] = self._initializer(array, name)
        return self._integers[key]

    def reshape(self, x: ir.Value, *shape: int, name: str) -> ir.Value:
        """Reshape; 0 keeps a dimension, -1 is what is left."""
        return self.node("Reshape", [x, self.integers(*shape)], name)

    def split(self, x: ir.Value, sizes: Sequence[int], name: str, axis: int = 1) -> list[ir.Value]:
        """Split along an axis."""
        return self.nodes("Split", [x, self.integers(*sizes)], name, len(sizes), axis=axis) if len(sizes) > 1 else [x]

    def linear(self, x: ir.Value, weight: Any, bias: Any, name: str) -> ir.Value:
        """Map ``(B, C, h, w)`` to ``(B, N, 1, 1)``, with ``weight`` ``(N, C * h * w)``, by a convolution of that size.

        Runtimes keep features in an order of their own for convolutions; a matrix product would have to leave it.
        """
        weight = np.asarray(weight)
        if weight.ndim == 2:
            weight = weight[:, :, None, None]
        inputs = [x, self.constant(weight, f"{name}/weight")]
        if bias is not None:
            inputs.append(self.constant(bias, f"{name}/bias"))
        return self.node("Conv", inputs, name, kernel_shape=list(weight.shape[2:]))

    def dense(self, x: ir.Value, weight: Any, bias: Any, name: str) -> ir.Value:
        """Map ``(B, C, 1, 1)`` to ``(B, N)``: for many outputs faster than a convolution."""
        inputs = [self.node("Flatten", [x], f"{name}/flat", axis=1), self.constant(weight, f"{name}/weight")]
        if bias is not None:
            inputs.append(self.constant(bias, f"{name}/bias"))
        return self.node("Gemm", inputs, name, transB=1)

    def _initializer(self, array: np.ndarray, name: str) -> ir.Value:
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype
        self.graph.register_initializer(value)
        return value
