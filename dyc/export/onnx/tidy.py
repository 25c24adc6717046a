"""Makes a traced graph one that a person can read: names, free sizes, and nothing that is left over."""

import ast
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

DIMENSIONS = ("batch", "channels", "height", "width")


def free_sizes(model: ir.Model) -> None:
    """Let reshapes keep the sizes that they were traced with, in place: 0 copies a size from the input, -1 is the rest.

    A size that equals the input's at the same place is that one; whether so for other images too is what the check of
    the finished file shows.
    """
    for node in model.graph:
        if node.op_type != "Reshape" or node.inputs[1].const_value is None or node.inputs[0].shape is None:
            continue
        target, before = node.inputs[1].const_value.numpy().tolist(), list(node.inputs[0].shape)
        kept = [
            0 if i < len(before) and before[i] == size and i in (0, 2, 3) else size for i, size in enumerate(target)
        ]
        if kept != target:
            name = f"{node.inputs[1].name}_free"
            if name not in model.graph.initializers:
                value = ir.Value(name=name, const_value=ir.tensor(np.array(kept, np.int64), name=name))
                value.shape, value.dtype = ir.Shape([len(kept)]), ir.DataType.INT64
                model.graph.register_initializer(value)
            node.attributes.pop("allowzero", None)  # with which 0 is no size to copy
            node.replace_input_with(1, model.graph.initializers[name])


def free_resizes(model: ir.Model) -> None:
    """Let a map that is resized to the size of another follow that one, in place, whatever the images.

    Which one that is, the tracing does not say: the last before it of that size is taken. Whether so for other images
    too is what the check of the finished file shows.
    """
    maps = [model.graph.inputs[0]]
    for node in list(model.graph):
        sizes = node.inputs[3].const_value if node.op_type == "Resize" and len(node.inputs) > 3 else None
        if sizes is not None and sizes.size == 4:
            wanted = sizes.numpy().tolist()[2:]
            like = next((value for value in reversed(maps) if list(value.shape[2:]) == wanted), None)
            if like is not None:
                _resize_like(model.graph, node, like)
        maps += [value for value in node.outputs if value.shape is not None and len(value.shape) == 4]


def _resize_like(graph: ir.Graph, resize: ir.Node, like: ir.Value) -> None:
    kept = ir.node("Shape", [resize.inputs[0]], {"end": 2}, name="")
    size = ir.node("Shape", [like], {"start": 2}, name="")
    both = ir.node("Concat", [kept.outputs[0], size.outputs[0]], {"axis": 0}, name="")
    for node in (kept, size, both):
        node.metadata_props.update(resize.metadata_props)  # which say where it was traced, and give it its name
    graph.insert_before(resize, (kept, size, both))
    resize.replace_input_with(3, both.outputs[0])


def name_nodes(model: ir.Model) -> dict[str, str]:
    """Name nodes after the module that they come from; return by module path the value that it puts out."""
    taken: Counter[str] = Counter()
    outputs: dict[str, str] = {}
    for node in model.graph:
        path = _path(node)
        if path is None:  # of a layer that was filled in, with its name
            taken[node.name] += 1
        else:
            node.name = _free_name(taken, path, node.op_type)
            if not node.outputs[0].is_graph_output():
                node.outputs[0].name = node.name
            outputs[module_of(node)] = node.outputs[0].name
    # Of a module with parts, such as a BatchNorm with its activation, another node may be the last.
    return {path: name for path, name in outputs.items() if not any(p.startswith(f"{path}.") for p in outputs)}


def _free_name(taken: Counter[str], path: str, op: str) -> str:
    name = path if op in ("Conv", "Gemm", "BatchNormalization") and path else f"{path}/{op}" if path else op
    taken[name] += 1
    if taken[name] == 1:
        return name
    numbered = f"{name}.{taken[name] - 1}"
    taken[numbered] += 1
    return numbered


def module_of(node: ir.Node) -> str | None:
    """Return the path of the innermost module that a node was traced in."""
    scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes")
    return None if scopes is None else ([path for path in ast.literal_eval(scopes)[:-1] if path] or [""])[-1]


def _path(node: ir.Node) -> str | None:
    """Return the path of the module whose weights a node reads, or else of that which it was traced in."""
    path = module_of(node)
    for value in node.inputs[1:] if path is not None else ():
        if value is not None and value.is_initializer() and (value.name or "").endswith(".weight"):
            return value.name.removesuffix(".weight")
    return path


def plain_shapes(model: ir.Model, size: Sequence[int] | None, classes: bool) -> None:
    """Forget all sizes but those of inputs and outputs, whose batch, height and width get their names.

    Args:
        model: The graph.
        size: ``(H, W)`` where the network takes images of no other size.
        classes: Whether the output is ``(B, classes)``.
    """
    graph = model.graph
    ends = (*graph.inputs, *graph.outputs)
    for node in graph:
        for value in node.outputs:
            if not any(value is end for end in ends):
                value.shape = None
    images = graph.inputs[0]
    images.shape = ir.Shape(["batch", images.shape[1], *(size or DIMENSIONS[2:])])
    for output in graph.outputs:
        dims = list(output.shape)
        free = [f"{output.name}_{name}" if size is None else dim for name, dim in zip(DIMENSIONS[2:], dims[2:])]
        output.shape = ir.Shape(["batch", *dims[1:2], *(free if not classes else dims[2:])])


def strip(model: ir.Model) -> None:
    """Remove what the tracing noted, such as paths of files, and constants that nothing reads."""
    graph = model.graph
    graph.metadata_props.clear()
    graph.name = "network"
    model.functions.clear()
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()
    unread: list[ir.Node] = [
        node for node in reversed(list(graph)) if not any(v.uses() or v.is_graph_output() for v in node.outputs)
    ]
    while unread:
        graph.remove(unread, safe=True)
        unread = [
            node for node in reversed(list(graph)) if not any(v.uses() or v.is_graph_output() for v in node.outputs)
        ]
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
