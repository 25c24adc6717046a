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
from pathlib import Path

import numpy as np
import onnx
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
    images = _Images(model.graph.input[0].name, batches)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        unfinished = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            unfinished,
            images,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            # Seven bits: without VNNI, processors add two products in 16 bits, which eight bits overflow.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # The mean over the batches: the extremes of all images together are those of a few odd ones.
            extra_options={"WeightSymmetric": True, "CalibMovingAverage": True},
        )
        found = onnx.load(unfinished)
    del found.metadata_props[:]
    properties[PROPERTY] = json.dumps({"images": images.count, "weight_bits": 7})
    onnx.helper.set_model_props(found, properties)
    content = found.SerializeToString()
    with written_whole(path) as file:
        file.write(content)
    convolutions = [node for node in found.graph.node if node.op_type in ("Conv", "Gemm")]
    quantised = sum(is_quantised(found, node) for node in convolutions)
    sizes = {"bytes": len(content), "float_bytes": source.stat().st_size}
    return Int8Report(path, quantised, len(convolutions) - quantised, images.count, **sizes)


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


def is_quantised(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Tell whether the weights of a ``Conv`` or ``Gemm`` are 8-bit integers."""
    return any(other.op_type == "DequantizeLinear" and node.input[1] in other.output for other in model.graph.node)


class _Images(CalibrationDataReader):
    """Hands batches over one by one, and counts their images."""

    def __init__(self, name: str, batches: Iterable[np.ndarray]):
        self.name, self.batches, self.count = name, iter(batches), 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None."""
        batch = next(self.batches, None)
        if batch is None:
            if not self.count:
                raise ArgumentError("batches", "no images", "a batch of images at least")
            return None
        self.count += len(batch)
        return {self.name: np.ascontiguousarray(batch, dtype=np.float32)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the tool, whose remarks are about scales of biases that it corrects itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
