"""A small ONNX classifier, made without PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PREPARATION = {
    "input_size": [3, 8, 8],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "crop_mode": "center",
    "class_names": ["dark", "middle", "light"],
}


def write_onnx(
    path: Path,
    preparation: object = PREPARATION,
    size: tuple[object, ...] = ("batch", 3, 8, 8),
    scale: float = 1.0,
    pooled: bool = True,
    outputs: int = 3,
) -> Path:
    """Write a network whose three logits are -m, 0 and m times ``scale``, for images of mean m after their preparation.

    Args:
        path: The file.
        preparation: The value of its property ``dyc.preparation``; None for none, a str as it is.
        size: Shape of its input; names for open sizes.
        scale: Factor of the logits.
        pooled: False for logits of each pixel, as of a segmentation network.
        outputs: How many of these logits it has, or 4: another one is never the largest.
    """
    channels = size[1] if isinstance(size[1], int) else 3
    weight = np.array([-1, 0, 1, -0.5], np.float32).reshape(4, *[1] * (len(size) - 1)).repeat(channels, 1)
    weight = weight[:outputs] * np.float32(scale / channels)
    nodes = [helper.make_node("Conv", ["images", "weight"], ["features"])]
    if pooled:
        nodes += [helper.make_node("GlobalAveragePool", ["features"], ["means"])]
        nodes += [helper.make_node("Flatten", ["means"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("logits" if pooled else "features", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if preparation is not None:
        text = preparation if isinstance(preparation, str) else json.dumps(preparation)
        helper.set_model_props(model, {"dyc.preparation": text})
    onnx.save(model, path)
    return path
