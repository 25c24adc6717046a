"""An exported graph in 8-bit integers: static quantisation after training, by ONNX Runtime's own tool.

Weights are symmetric, with a scale for each output channel; activations have a scale and a zero point for each tensor.
The attention branches, and what mixes kernels or feature maps, stay in single precision.
"""

import json
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from dyc.export.onnx_format import ATTENTION, FORMS, Int8Report
from dyc.whole_files import written_whole
from ops import ArgumentError

QUANTISED = ("Conv", "ConvTranspose", "Gemm", "Add", "Concat", "Relu", "Clip", "Reshape", "Flatten")
QUANTISED += ("MaxPool", "AveragePool", "GlobalAveragePool")
"""What is quantised: layers with weights, and what lies between them. All else stays in single precision."""

PROPERTY = "dyc.int8"
_KERNEL = re.compile(r"kernel\d+(\.\d+)?")
_COPIES = re.compile(r"(^|/)planes$")
"""Names of convolutions without weights of their own: those of the form ``kernels`` that only copy pixels."""


def quantize(source: Path, path: Path, batches: Iterable[np.ndarray]) -> Int8Report:
    """Do as :func:`dyc.export.quantize_onnx`, whose arguments these are."""
    model = onnx.load(source)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if FORMS not in properties or ATTENTION not in properties:
        raise ArgumentError("source", f"{str(source)!r}, which `dyc export` has not written", "one of its ONNX files")
    if PROPERTY in properties:
        raise ArgumentError("source", f"{str(source)!r}, which is quantised", "a file in single precision")
    kept = kept_in_float(model, list(json.loads(properties[FORMS])), json.loads(properties[ATTENTION]))
    add_pre_process_metadata(model)  # there is nothing to do: BatchNorms are folded, and shapes are inferred below
    ranges, first, images = ranges_of(model, batches)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        unfinished = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            unfinished,
            _Once({model.graph.input[0].name: first}),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            # Seven bits: without VNNI, processors add two products in 16 bits, which eight bits overflow.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"WeightSymmetric": True, "TensorQuantOverrides": ranges},
        )
        found = onnx.load(unfinished)
    del found.metadata_props[:]
    properties[PROPERTY] = json.dumps({"images": images, "weight_bits": 7})
    onnx.helper.set_model_props(found, properties)
    content = found.SerializeToString()
    with written_whole(path) as file:
        file.write(content)
    weighted = [node for node in found.graph.node if node.op_type in ("Conv", "Gemm") and not _COPIES.search(node.name)]
    integers = {name for node in found.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    quantised = sum(node.input[1] in integers for node in weighted)
    sizes = {"bytes": len(content), "float_bytes": source.stat().st_size}
    return Int8Report(path, quantised, len(weighted) - quantised, images, **sizes)


def kept_in_float(model: onnx.ModelProto, layers: Sequence[str], attention: Sequence[str]) -> list[str]:
    """Return the names of the nodes of attention branches, and of those that mix kernels or feature maps.

    Args:
        model: The graph.
        layers: Paths of the dynamic layers. Of theirs, only the convolutions with constant kernels are quantised.
        attention: Paths of the modules that predict the weights of kernels.
    """

    def inside(name: str, path: str) -> bool:
        return not path or name == path or name.startswith((f"{path}/", f"{path}."))

    def kernel(node: onnx.NodeProto, path: str) -> bool:
        own = node.name.removeprefix(f"{path}/" if path else "")
        return node.op_type == "Conv" and _KERNEL.fullmatch(own) is not None

    return [
        node.name
        for node in model.graph.node
        if any(inside(node.name, path) for path in attention)
        or any(inside(node.name, path) and not kernel(node, path) for path in layers)
    ]


def ranges_of(
    model: onnx.ModelProto, batches: Iterable[np.ndarray]
) -> tuple[dict[str, list[dict[str, np.ndarray]]], np.ndarray, int]:
    """Return the range of every activation, the first batch, and the number of images.

    The smallest and the largest value are each the median over batches: there are networks whose activations are a
    thousand times larger for a few images than for all others, and a mean would be made of those.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    graph = watched.graph
    nodes = [node for node in graph.node if node.op_type in QUANTISED]
    constants = {value.name for value in graph.initializer}
    names = list(dict.fromkeys(name for node in nodes for name in chain(node.input, node.output)))
    produced = {name for node in graph.node for name in node.output if node.op_type not in ("Shape", "Range", "Cast")}
    names = [name for name in names if name not in constants and name in produced | {graph.input[0].name}]
    for name, op in ((name, op) for name in names for op in ("ReduceMin", "ReduceMax")):
        graph.node.append(onnx.helper.make_node(op, [name], [f"{name}:{op}"], keepdims=0))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(f"{name}:{op}"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [f"{name}:{op}" for name in names for op in ("ReduceMin", "ReduceMax")]
    found, first, images = [], None, 0
    for batch in batches:
        batch = np.ascontiguousarray(batch, dtype=np.float32)
        first, images = batch if first is None else first, images + len(batch)
        found.append(session.run(outputs, {graph.input[0].name: batch}))
    if first is None:
        raise ArgumentError("batches", "no images", "a batch of images at least")
    extremes = np.median(np.array(found, np.float32), axis=0).reshape(-1, 2)
    ranges = {name: [{"rmin": low, "rmax": high}] for name, (low, high) in zip(names, extremes)}
    return ranges, first, images


class _Once(CalibrationDataReader):
    """Hands one batch over: the tool wants some, though the ranges are known."""

    def __init__(self, inputs: dict[str, np.ndarray]):
        self.left = [inputs]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the batch, then None."""
        return self.left.pop() if self.left else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the tool, whose remarks are about scales of biases that it corrects itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
