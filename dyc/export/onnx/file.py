"""A network as an ONNX file: trace, fill in, name, compare, write."""

import copy
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

import dyc
from dyc.dynamic_model import iter_attention
from dyc.export.onnx import tidy
from dyc.export.onnx.capture import capture
from dyc.export.onnx.check import Difference, compare, first_that_differs, images_of, outputs_of
from dyc.export.onnx.choice import check_form
from dyc.export.onnx.layers import fill_in
from dyc.export.onnx.twin import twin_of
from dyc.export.onnx_format import ATTENTION, FORMS, ExportReport
from dyc.whole_files import written_whole
from ops import ArgumentError

TRACED = (2, 8, 24)
"""Images to trace with, and rows and columns beyond those of ``input_size``, so that no size is that of another."""


def save(
    network: nn.Module,
    path: Path,
    *,
    input_size: tuple[int, int, int],
    form: str,
    batch: int,
    preparation: Mapping[str, Any] | None,
    progress: Callable[[str], None],
) -> ExportReport:
    """Do as :func:`dyc.export.export_onnx`, whose arguments these are."""
    check_form(form)
    started = time.process_time()
    channels, *size = input_size
    network = _reference(network)
    sizes = _sizes(network, channels, tuple(size))
    failed: Difference | None = None
    for by_symbols in (False, True):
        progress("trace with symbols for all sizes" if by_symbols else "trace the network")
        twin, layers = twin_of(network)
        rows, columns = sizes[-1]
        try:
            model = capture(twin, images_of(TRACED[0], channels, (rows, columns)), by_symbols=by_symbols)
        except Exception as error:
            if not by_symbols:
                continue
            raise ArgumentError("network", sentence=f"cannot be traced: {_first_line(error)}") from error
        progress("write its layers as ONNX")
        forms, ends = fill_in(model, layers, form, batch)
        tidy.free_sizes(model)
        tidy.free_resizes(model)
        outputs = tidy.name_nodes(model)
        outputs |= {layer: value.name for layer, value in ends.items()}
        tidy.strip(model)
        _finish(model, network, input_size, sizes, forms, preparation)
        graph = ir.to_proto(model).SerializeToString()
        report = ExportReport(path, len(list(model.graph)), forms, any_size=len(sizes) > 1)
        progress("compare it with PyTorch in ONNX Runtime")
        differences = list(compare(graph, network, channels, sizes))
        report.differences = {(found.batch, found.size): found.relative for found in differences}
        failed = differences[-1]
        if failed.allowed:
            with written_whole(path) as file:
                file.write(graph)
            report.seconds = time.process_time() - started
            return report
    layer = first_that_differs(graph, network, channels, failed, outputs)
    where = f"; the first layer that differs is {layer}" if layer else ""
    raise ArgumentError("network", sentence=f"is not exported: {failed}{where}; no file was written")


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _reference(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, in single precision, on the CPU."""
    return copy.deepcopy(network).eval().cpu().float().requires_grad_(False)


def _sizes(network: nn.Module, channels: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return two sizes of images that the network takes, the second not square; one where it takes no other."""
    _try(network, channels, size)
    rows, columns = size if max(size) <= 128 else (size[0] // 2, size[1] // 2)
    for more in ((8, 24), (32, 64)):
        other = (rows + more[0], columns + more[1])
        try:
            _try(network, channels, other)
        except ArgumentError:
            continue
        return [size, other]
    return [size]


@torch.no_grad()
def _try(network: nn.Module, channels: int, size: tuple[int, int]) -> None:
    try:
        outputs_of(network(images_of(1, channels, size)))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        got = f"{channels}x{size[0]}x{size[1]}"
        raise ArgumentError("input_size", got, f"a size that the network takes ({_first_line(error)})") from error


def _finish(model, network, input_size, sizes, forms, preparation) -> None:
    """Name outputs and sizes, and note what the network is."""
    channels, *size = input_size
    with torch.no_grad():
        outputs = outputs_of(network(images_of(1, channels, size)))
    for value, (name, tensor) in zip(model.graph.outputs, outputs.items()):
        value.name = name
        value.shape = ir.Shape(tensor.shape)
    tidy.plain_shapes(model, None if len(sizes) > 1 else size, classes=all(t.dim() == 2 for t in outputs.values()))
    facts = {"dyc.version": _version(), "dyc.architecture": _architecture(network)}
    facts[FORMS] = json.dumps({layer.layer: layer.form for layer in forms})
    branches = set(iter_attention(network))
    facts[ATTENTION] = json.dumps([path for path, module in network.named_modules() if module in branches])
    if preparation is not None:
        facts["dyc.preparation"] = json.dumps(dict(preparation))
    model.metadata_props.clear()
    model.metadata_props.update(facts)
    model.producer_name, model.producer_version = "dyc", _version()


def _architecture(network: nn.Module) -> str:
    return (getattr(network, "pretrained_cfg", None) or {}).get("architecture") or type(network).__name__


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(dyc.__name__)
    except PackageNotFoundError:
        return "unknown"
