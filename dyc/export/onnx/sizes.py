"""Which feature maps of a graph have the same height and width, whatever those of the images are."""

from typing import Any

import onnx_ir as ir

from dyc.export.onnx.builder import Builder

SAME = {
    "Relu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "BatchNormalization",
    "LeakyRelu",
    "Identity",
    "Tanh",
    "Cast",
}
WINDOWED = {"Conv", "AveragePool", "MaxPool", "Layer"}


def size_keys(b: Builder, value: ir.Value) -> tuple[Any, Any]:
    """Return a key for the height and one for the width of ``(B, C, H, W)``: equal keys mean equal sizes.

    It must be called before the layers that come before ``value`` are taken out of the graph, or ask for their keys
    first; what was found is kept.
    """
    found = b.shared.setdefault("sizes", {})
    if value not in found:
        found[value] = _keys(b, value)
    return found[value]


def note_sizes(b: Builder) -> None:
    """Find the keys of all values, in the order of the graph, so that none is found by way of many others."""
    for node in b.graph:
        for value in node.outputs:
            size_keys(b, value)


def _keys(b: Builder, value: ir.Value) -> tuple[Any, Any]:
    own = ((id(value), 0), (id(value), 1))
    node = value.producer()
    if node is None:
        return own
    if node.op_type in SAME:
        return size_keys(b, node.inputs[0])
    if node.op_type in ("Add", "Mul", "Sub", "Div", "Concat") and all(_is_map(x) for x in node.inputs):
        sizes = [tuple(x.shape[2:]) for x in node.inputs]
        whole = [x for x, size in zip(node.inputs, sizes) if size != (1, 1)]  # others are spread over it
        if whole and len({size for size in sizes if size != (1, 1)}) == 1:
            return size_keys(b, whole[0])
    if node.op_type in WINDOWED and _is_map(node.inputs[0]):
        before = size_keys(b, node.inputs[0])
        window = b.shared["windows"].get(node) or _window(node)
        if window is not None:
            return tuple(_through(key, *(part[axis] for part in window)) for axis, key in enumerate(before))
    return own


def _is_map(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 4


def _through(key: Any, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    extent = dilation * (kernel - 1)
    return key if stride == 1 and padding == extent else (key, extent - padding, stride)


def _window(node: ir.Node) -> tuple | None:
    """Return kernel, strides, padding of both sides together, and dilations."""
    attrs = {name: attr.value for name, attr in node.attributes.items()}
    kernel = attrs.get("kernel_shape")
    if kernel is None or attrs.get("ceil_mode") or attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    pads = attrs.get("pads") or (0, 0, 0, 0)
    return (
        kernel,
        attrs.get("strides") or (1, 1),
        (pads[0] + pads[2], pads[1] + pads[3]),
        attrs.get("dilations") or (1, 1),
    )
