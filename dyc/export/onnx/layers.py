"""Fills in what the stand-ins of a traced graph stand for."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from timm.layers import Conv2dSame
from torch import nn

from dyc.export.onnx import branches, tidy
from dyc.export.onnx.attention import Shares
from dyc.export.onnx.branches import array
from dyc.export.onnx.builder import Builder
from dyc.export.onnx.choice import LayerForm, choose
from dyc.export.onnx.forms import Bank, by_features, by_kernels
from dyc.export.onnx.shifting import shifted_channels
from dyc.export.onnx.sizes import note_sizes
from dyc.export.onnx.twin import DOMAIN
from dyc.layers import BlockCoefficients, DynamicConv2d, DynamicConv2dSame
from dyc.layers.gathered import ShiftChannels

USUAL = 14
"""Pixels along a side that are taken for granted where the tracing left the size open."""


def fill_in(
    model: ir.Model, layers: Mapping[str, nn.Module], form: str, batch: int
) -> tuple[list[LayerForm], dict[str, ir.Value]]:
    """Replace every stand-in of a graph by the nodes of its layer, in place.

    Args:
        model: The graph.
        layers: The layers by path.
        form: ``"kernels"``, ``"features"`` or ``"auto"``.
        batch: The batch that ``"auto"`` chooses for.

    Returns:
        The form of each dynamic layer; and by module the value that it puts out, where that is in the graph.
    """
    builder = Builder(model.graph)
    standing = [node for node in model.graph if node.domain == DOMAIN]
    windows = {node: _window_of(layers[_path(node)]) for node in standing}
    builder.shared["windows"] = {node: window for node, window in windows.items() if window is not None}
    builder.shared["shares"] = {}
    note_sizes(builder)
    chosen, ends = [], {}
    for node in standing:
        layer, x = layers[_path(node)], node.inputs[0]
        builder.start(_path(node))
        if isinstance(layer, ShiftChannels):
            y = _shifted(builder, x, layer)
        elif isinstance(layer, BlockCoefficients):
            y = _coefficients(builder, x, layer, node)
        else:
            norm = None if isinstance(layer, Conv2dSame) else _norm_after(node)
            path = tidy.module_of(norm or node)
            layer_form, y = _convolution(builder, node, layer, norm, form, batch)
            chosen += [layer_form] if layer_form else []
            ends[path] = y
        last = node.outputs[0]
        builder.insert_before(node)
        if any(last is output for output in model.graph.outputs):
            y.shape, y.type = last.shape, last.type
        ir.convenience.replace_all_uses_with(last, y, replace_graph_outputs=True)
        builder.shared["sizes"][y] = builder.shared["sizes"][last]
        y.shape = last.shape
        if last in builder.shared["shares"]:
            builder.shared["shares"][y] = builder.shared["shares"][last]
        model.graph.remove(node, safe=True)
    return chosen, ends


def _path(node: ir.Node) -> str:
    return node.attributes["layer"].value


def _shifted(b: Builder, x: ir.Value, layer: ShiftChannels) -> ir.Value:
    slots, sources, shift = (t.detach().cpu().numpy() for t in (layer.slots, layer.sources, layer.shift))
    return shifted_channels(b, x, x.shape[1], slots, sources, shift)


def _coefficients(b: Builder, x: ir.Value, layer: BlockCoefficients, node: ir.Node) -> ir.Value:
    key = ("coefficients", _path(node), x)
    if key not in b.shared:
        b.shared[key] = branches.coefficients(b, x, layer)
    shares = b.shared[key][node.attributes["part"].value]
    b.shared["shares"][node.outputs[0]] = shares
    return b.reshape(shares.flat, 0, shares.kernels, shares.channels, name="coefficients")


def _convolution(
    b: Builder, node: ir.Node, layer: nn.Module, norm: ir.Node | None, form: str, batch: int
) -> tuple[LayerForm | None, ir.Value]:
    x, window = node.inputs[0], _attributes(layer)
    if isinstance(layer, Conv2dSame):
        inputs = [x, b.constant(array(layer.weight), "weight")]
        if layer.bias is not None:
            inputs.append(b.constant(array(layer.bias), "bias"))
        attrs = {**window, "group": layer.groups, "kernel_shape": list(layer.kernel_size)}
        return None, b.node("Conv", inputs, "", **attrs)
    shares = _shares(b, node, layer)
    bank = Bank(array(layer.weight), array(layer.bias), layer.groups, window)
    if norm is not None:
        bank.fold(*_affine(norm))
        ir.convenience.replace_all_uses_with(norm.outputs[0], node.outputs[0], replace_graph_outputs=True)
        b.shared["sizes"].setdefault(node.outputs[0], b.shared["sizes"][norm.outputs[0]])
        b.graph.remove(norm, safe=True)
    size = [dim if isinstance(dim, int) else USUAL for dim in node.outputs[0].shape[2:]]
    chosen = choose(_path(node), layer, size, form, batch, one_kernel=shares.flat is None)
    return chosen, (by_features if chosen.form == "features" else by_kernels)(b, x, bank, shares)


def _shares(b: Builder, node: ir.Node, layer: DynamicConv2d) -> Shares:
    x, *given = node.inputs
    kernels, out_channels = layer.weight.shape[:2]
    if not given:
        return branches.build(b, x, layer.attention, kernels)
    if given[0] in b.shared["shares"]:
        return b.shared["shares"][given[0]]
    weights, inputs, taps = (*given, None, None)[:3]
    sums = layer.attention is not None and getattr(layer.attention, "sums_to_one", True)
    channels = 1 if len(weights.shape) == 2 else out_channels
    found = Shares(b.reshape(weights, 0, -1, 1, 1, name="attention/shares"), kernels, channels, bool(sums))
    if inputs is not None:
        found.inputs = b.reshape(inputs, 0, -1, 1, 1, name="attention/inputs")
    if taps is not None:
        found.taps = b.reshape(taps, 0, -1, 1, 1, name="attention/taps")
    return found


def _attributes(layer: nn.Module) -> dict:
    """Return the window as attributes of a ``Conv``."""
    window = {"strides": list(layer.stride), "dilations": list(layer.dilation)}
    if not isinstance(layer, DynamicConv2dSame | Conv2dSame):
        return {**window, "pads": [*layer.padding, *layer.padding]}
    if max(layer.dilation) == 1:
        return {**window, "auto_pad": "SAME_UPPER"}
    total = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation)]  # with a stride of one
    return {**window, "pads": [*(t // 2 for t in total), *(t - t // 2 for t in total)]}


def _window_of(layer: nn.Module) -> tuple | None:
    """Return what sizes follow from: kernel, strides, padding of both sides together, dilations."""
    if isinstance(layer, ShiftChannels):
        return (1, 1), (1, 1), (0, 0), (1, 1)
    if isinstance(layer, BlockCoefficients):
        return None
    attrs = _attributes(layer)
    if "pads" not in attrs:
        return None if max(layer.stride) > 1 else ((1, 1), (1, 1), (0, 0), (1, 1))
    pads = attrs["pads"]
    return layer.kernel_size, layer.stride, (pads[0] + pads[2], pads[1] + pads[3]), layer.dilation


def _norm_after(node: ir.Node) -> ir.Node | None:
    """Return the BatchNorm that alone reads a node's output."""
    uses = node.outputs[0].uses()
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    after = uses[0].node
    fixed = after.op_type == "BatchNormalization" and all(v.const_value is not None for v in after.inputs[1:])
    return after if fixed else None


def _affine(norm: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    """Return a BatchNorm's scale and shift."""
    weight, bias, mean, variance = (value.const_value.numpy().astype(np.float64) for value in norm.inputs[1:])
    scale = weight / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
