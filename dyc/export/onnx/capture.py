"""From a network to an ONNX graph as it was traced, by PyTorch's own exporter."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

INPUT, OUTPUT = "images", "logits"


def capture(network: nn.Module, images: Tensor, *, by_symbols: bool) -> ir.Model:
    """Return the graph of a network that takes one tensor.

    Args:
        network: The network, in evaluation mode.
        images: What it is traced with.
        by_symbols: Trace with symbols for batch, height and width, which follows whatever is computed from them and
            takes five times as long. Else with the sizes of ``images``: right where the network computes nothing from
            them, which has to be checked with others.
    """
    names = {"input_names": [INPUT]}
    program = _program(network, images, by_symbols)
    if not by_symbols and _functional(program):
        # Nothing to decompose: that would trace everything three more times.
        program.run_decompositions = lambda *_: program
        try:
            return _translated(program, **names)
        except torch.onnx.errors.OnnxExporterError:  # an operator that has to be decomposed after all
            program = _program(network, images, by_symbols)
    return _translated(program, **names)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, whose remarks are about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _program(network: nn.Module, images: Tensor, by_symbols: bool) -> ExportedProgram:
    free = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    with _quiet(), torch.no_grad():
        return torch.export.export(network, (images,), dynamic_shapes=(free,) if by_symbols else None, strict=False)


def _translated(program: ExportedProgram, **names: Any) -> ir.Model:
    with _quiet():
        made = torch.onnx.export(program, dynamo=True, verbose=False, custom_translation_table=TABLE, **names)
    return made.model


def _functional(program: ExportedProgram) -> bool:
    """Replace operators that write in place by those that do not; tell whether that was possible for all."""
    place = {node: number for number, node in enumerate(program.graph.nodes)}
    for node in program.graph.nodes:
        target = node.target
        if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
            continue
        name, changed = target._opname.removesuffix("_"), node.args[0]
        other = getattr(getattr(torch.ops.aten, name, None), target._overloadname, None)
        used_later = any(place[user] > place[node] for user in changed.users if user is not node)
        if target.namespace != "aten" or not target._opname.endswith("_") or other is None or used_later:
            return False
        if changed.op != "call_function" or _may_be_view(changed):
            return False
        node.target = other
    return True


def _may_be_view(node: torch.fx.Node) -> bool:
    """Tell whether a tensor may share its memory with another, which writing would change too."""
    schema = getattr(node.target, "_schema", None)
    return schema is None or any(result.alias_info is not None for result in schema.returns)


def _batch_norm(x, weight, bias, mean, variance, training, momentum, eps, cudnn_enabled):
    if training or weight is None or bias is None or mean is None:
        raise NotImplementedError("a BatchNorm of the batch's own statistics, or without scale and offset")
    return op.BatchNormalization(x, weight, bias, mean, variance, epsilon=eps)


def _adaptive_avg_pool2d(x, output_size):
    if list(output_size) != [1, 1]:
        raise NotImplementedError("adaptive pooling to more than one pixel")
    return op.GlobalAveragePool(x)


def _flatten(x, start_dim=0, end_dim=-1):
    if (start_dim, end_dim) != (1, -1):
        raise NotImplementedError("flattening of some dimensions")
    return op.Flatten(x, axis=1)


TABLE: dict[Any, Callable] = {
    torch.ops.aten.batch_norm.default: _batch_norm,
    torch.ops.aten.adaptive_avg_pool2d.default: _adaptive_avg_pool2d,
    torch.ops.aten.flatten.using_ints: _flatten,
}
"""Operators for which PyTorch's exporter has no translation before it decomposes them.

Where one of these raises, :func:`capture` lets the exporter decompose the program, which has translations for the rest.
"""
