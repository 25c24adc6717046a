"""The attention branches of this package as few ONNX nodes. Others are traced operator by operator."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from dyc.conversion.convertible import has_hooks
from dyc.export.onnx.attention import Shares, softmax
from dyc.export.onnx.builder import Builder
from dyc.export.onnx.pooling import adaptive_pool
from dyc.layers.attention import GlobalAttention
from dyc.layers.attentions.condconv import CondConvAttention
from dyc.layers.attentions.efficient import EfficientAttention
from dyc.layers.attentions.odconv import ODConvAttention
from dyc.layers.channel_reduction import GroupedChannels, RandomChannels, SlicedChannels
from dyc.layers.coefficients import BlockCoefficients


def array(tensor: Tensor | None) -> np.ndarray | None:
    """Return a tensor's values in single precision."""
    return None if tensor is None else tensor.detach().to("cpu", torch.float32).numpy()


def known(branch: nn.Module) -> bool:
    """Tell whether a branch is one of this package's own, as it is: not of a subclass, and without hooks."""
    parts = list(branch.modules())
    plain = (nn.Linear, nn.BatchNorm1d, RandomChannels, GroupedChannels, SlicedChannels)
    ordinary = type(branch) in (*BRANCHES, BlockCoefficients) and all(type(part) in plain for part in parts[1:])
    return ordinary and not any(has_hooks(part) or "forward" in part.__dict__ for part in parts)


def build(b: Builder, x: ir.Value, branch: nn.Module, kernels: int) -> Shares:
    """Add the nodes of a branch that is known."""
    return BRANCHES[type(branch)](b, x, branch, kernels)


def _average(b: Builder, x: ir.Value) -> ir.Value:
    return b.node("GlobalAveragePool", [x], "attention/average")


def _linear(b: Builder, x: ir.Value, layer: nn.Linear, name: str, scale: float = 1.0) -> ir.Value:
    bias = array(layer.bias)
    return b.linear(x, array(layer.weight) * scale, None if bias is None else bias * scale, f"attention/{name}")


def _relu(b: Builder, x: ir.Value) -> ir.Value:
    return b.node("Relu", [x], "attention/relu")


def _global(b: Builder, x: ir.Value, branch: GlobalAttention, kernels: int) -> Shares:
    hidden = _relu(b, _linear(b, _average(b, x), branch.fc1, "fc1"))
    cooled, bias = 1 / float(branch.temperature), array(branch.fc2.bias)
    weight, bias = array(branch.fc2.weight) * cooled, None if bias is None else bias * cooled
    logits = b.dense(hidden, weight, bias, "attention/fc2")
    if branch.fc2.out_features == kernels:
        logits = b.reshape(logits, 0, -1, 1, 1, name="attention/logits")
    return softmax(b, logits, kernels, branch.fc2.out_features // kernels)


def _condconv(b: Builder, x: ir.Value, branch: CondConvAttention, kernels: int) -> Shares:
    return Shares(b.node("Sigmoid", [_linear(b, _average(b, x), branch.fc, "fc")], "attention/sigmoid"), kernels)


def _efficient(b: Builder, x: ir.Value, branch: EfficientAttention, kernels: int) -> Shares:
    pooled = adaptive_pool(b, _selected(b, x, branch.select), branch.pool_size, branch.pool, like=x)
    weight = array(branch.fc1.weight).reshape(-1, branch.select.count, branch.pool_size, branch.pool_size)
    hidden = _relu(b, b.linear(pooled, weight, None, "attention/fc1"))
    if branch.temperature is None:
        return Shares(b.node("Sigmoid", [_linear(b, hidden, branch.fc2, "fc2")], "attention/sigmoid"), kernels)
    return softmax(b, _linear(b, hidden, branch.fc2, "fc2", 1 / float(branch.temperature)), kernels, 1)


def _selected(b: Builder, x: ir.Value, select: nn.Module) -> ir.Value:
    if not isinstance(select, GroupedChannels):
        chosen = range(*select.slice) if isinstance(select, SlicedChannels) else select.selected.tolist()
        return b.node("Gather", [x, b.integers(*chosen)], "attention/select", axis=1)
    sizes = [len(part) for part in np.array_split(np.arange(select.in_channels), select.count)]
    if select.maximum:
        groups = b.split(x, sizes, "attention/groups")
        each = [b.node("ReduceMax", [part, b.integers(1)], "attention/max", keepdims=1) for part in groups]
        return b.node("Concat", each, "attention/select", axis=1) if len(each) > 1 else each[0]
    mean = np.zeros((select.count, select.in_channels), np.float32)
    mean[np.repeat(np.arange(select.count), sizes), np.arange(select.in_channels)] = np.repeat(
        1 / np.array(sizes), sizes
    )
    return b.linear(x, mean, None, "attention/select")


def _odconv(b: Builder, x: ir.Value, branch: ODConvAttention, kernels: int) -> Shares:
    weight, bias = array(branch.fc1.weight), array(branch.fc1.bias)
    if branch.norm is not None:
        norm = branch.norm
        scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
        weight, bias = weight * scale[:, None], array(norm.bias) - array(norm.running_mean) * scale
    hidden = _relu(b, b.linear(_average(b, x), weight, bias, "attention/fc1"))
    temperature, first, found = float(branch.temperature), 0, {}
    for part, width in branch.widths.items():
        rows = slice(first, first + width)
        first += width
        if width:
            weight, bias = array(branch.fc2.weight)[rows] / temperature, array(branch.fc2.bias)[rows] / temperature
            found[part] = b.linear(hidden, weight, bias, f"attention/fc2_{part}")
    gates = {part: b.node("Sigmoid", [found[part]], f"attention/{part}") for part in found if part != "kernels"}
    shares = softmax(b, found["kernels"], kernels, 1) if "kernels" in found else Shares(None, kernels, 1, True)
    shares.inputs, shares.taps, shares.outputs = gates.get("inputs"), gates.get("taps"), gates.get("filters")
    return shares


BRANCHES: dict[type[nn.Module], Callable[[Builder, ir.Value, nn.Module, int], Shares]] = {
    GlobalAttention: _global,
    CondConvAttention: _condconv,
    EfficientAttention: _efficient,
    ODConvAttention: _odconv,
}
"""By class, what adds the nodes of a branch."""


def coefficients(b: Builder, x: ir.Value, branch: BlockCoefficients) -> list[Shares]:
    """Add the nodes that predict what mixes the convolutions of a block; return the shares of each."""
    pooled = _average_of_block(b, x)
    if branch.fc1 is not None:
        pooled = b.node("Relu", [b.linear(pooled, array(branch.fc1.weight), array(branch.fc1.bias), "fc1")], "relu")
    mixed = b.node("Sigmoid", [b.dense(pooled, array(branch.fc2.weight), array(branch.fc2.bias), "fc2")], "sigmoid")
    each = b.split(b.reshape(mixed, 0, -1, 1, 1, name="coefficients/flat"), branch.sizes, "split")
    return [Shares(flat, branch.num_kernels, channels) for flat, channels in zip(each, branch.out_channels)]


def _average_of_block(b: Builder, x: ir.Value) -> ir.Value:
    return b.node("GlobalAveragePool", [x], "average")
