"""Which form a layer gets: what it costs in ONNX Runtime decides where nobody says."""

import math
from collections.abc import Sequence

from dyc.export.onnx_format import LayerForm
from dyc.layers import DynamicConv2d
from ops import unknown_name

FORMS = ("auto", "kernels", "features")


def check_form(form: str) -> str:
    """Return a form's name, or raise with suggestions."""
    if form not in FORMS:
        raise unknown_name("form", form, FORMS)
    return form


def choose(
    path: str, layer: DynamicConv2d, size: Sequence[int], form: str, batch: int, *, one_kernel: bool = False
) -> LayerForm:
    """Return a layer's form.

    Args:
        path: Its name.
        layer: The layer.
        size: Height and width of its output, for the images that the network is traced with.
        form: One of :data:`FORMS`.
        batch: Images at a time.
        one_kernel: The bank holds one kernel, and there is nothing to mix.
    """
    kernels, out_channels, per_group, rows, columns = layer.weight.shape
    kind = f"{layer.attention_kind or 'dynamic'} {rows}x{columns}"
    if layer.groups > 1:
        kind += " depthwise" if layer.groups == layer.in_channels == layer.out_channels else f", {layer.groups} groups"
    if one_kernel:
        return LayerForm(path, kind, "features", "one kernel, nothing to mix")
    if form != "auto":
        return LayerForm(path, kind, form, "as asked")
    features, mixed = costs(kernels, out_channels, per_group, rows * columns, math.prod(size), batch)
    chosen = "features" if features <= mixed else "kernels"
    return LayerForm(path, kind, chosen, f"about {features:,.0f} us as features, {mixed:,.0f} us as kernels")


def costs(kernels: int, out_channels: int, per_group: int, taps: int, pixels: int, batch: int) -> tuple[float, float]:
    """Return about how many microseconds a layer takes in each form, features first."""
    rows = per_group * taps
    features = batch * kernels * out_channels * pixels * (rows * MULTIPLY + PASS)
    mixing = batch * kernels * out_channels * rows * READ
    copies = 0 if taps == 1 else batch * pixels * rows * COPY * (out_channels if per_group == 1 else 1)
    product = batch * out_channels * pixels * (rows * MULTIPLY + PASS)
    return features + kernels * NODE, mixing + copies + product + 6 * NODE


# Rough microseconds on one thread of a processor with AVX2: of a multiply-add, of a value that is
# passed through a map, of a weight that is read for mixing, of a value that is copied, and of a node.
MULTIPLY, PASS, READ, COPY, NODE = 3e-5, 4e-4, 2.5e-4, 1e-3, 3.0
