"""What a latency table times: networks, and single layers, each with one batch of random images."""

from collections.abc import Callable
from functools import partial

import timm
import torch
from torch import nn

import dyc.models  # noqa: F401  (registers the networks)
from dyc.benchmark.operators import LAYOUTS, check_runs
from dyc.benchmark.shapes import same_padding
from dyc.dynamic_model import iter_dynamic, set_backend
from dyc.layers import DynamicConv2d
from experiments.papers.baselines import STATIC
from experiments.papers.entries import Row, Table
from ops import BackendUnavailable

LAYOUT = LAYOUTS["channels_last"]
"""Memory format of images and weights, static ones as well: the faster one for most networks."""


def backend_of(row: Row, table: Table, device: str) -> str:
    """Return the backend that a row is timed with.

    Where a table gives a GPU kernel rows of its own, its other rows are timed without that kernel on a GPU.
    """
    own = "backend" in row.benchmark
    apart = device == "cuda" and any("backend" in each.benchmark for each in table.rows.values())
    return row.benchmark["backend"] if own else "eager" if apart else "auto"


def reason_against(row: Row, device: str) -> str:
    """Say why a row cannot be timed on a device; nothing if it can."""
    if "backend" not in row.benchmark:
        return ""
    try:
        check_runs(row.benchmark["backend"], device, torch.float32, row.benchmark.get("kernel_size", 3))
    except BackendUnavailable as error:
        return str(error)
    return ""


def call_of(row: Row, table: Table, device: str) -> Callable[[], object]:
    """Return a forward pass of a row's network or layer, in evaluation mode and without gradients."""
    torch.manual_seed(0)
    network = _layer(row) if row.network is None else _network(row)
    if next(iter_dynamic(network), None) is not None:
        set_backend(network, backend_of(row, table, device))
    channels = row.benchmark["channels"] if row.network is None else network.default_cfg["input_size"][0]
    images = torch.randn(row.benchmark["batch_size"], channels, row.image_size, row.image_size, device=device)
    network = network.to(device, memory_format=LAYOUT).eval()
    return torch.no_grad()(partial(network, images.contiguous(memory_format=LAYOUT)))


def _network(row: Row) -> nn.Module:
    classes = {} if row.num_classes is None else {"num_classes": row.num_classes}
    return timm.create_model(row.network, **classes, **row.arguments)


def _layer(row: Row) -> nn.Module:
    """Return a depthwise layer without bias; of a dynamic one, the attention is part."""
    kind, channels, kernel = (row.benchmark[name] for name in ("layer", "channels", "kernel_size"))
    window = {"stride": row.benchmark["stride"], "padding": same_padding(kernel, 1), "groups": channels, "bias": False}
    if kind == STATIC:
        return nn.Conv2d(channels, channels, kernel, **window)
    return DynamicConv2d(channels, channels, kernel, **window, attention=kind)
