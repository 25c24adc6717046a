"""Kernels and their mixtures in the plane of the kernels' two principal directions.

Chen et al., Dynamic Convolution, section 3.3, https://arxiv.org/abs/1912.03458.
"""

import argparse
import math
import textwrap
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dyc.analysis.kernel_space import KernelPlane, check_kernels, hull, kernel_plane
from dyc.dynamic_model import iter_dynamic
from experiments.analyze.job import Job
from experiments.analyze.layers import layer_name
from experiments.analyze.output import COLUMN, headline
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.tables import Table

DYNAMIC = "kernels"
ZOOMED = 0.1
"""Mixtures that reach less far in the plane than this share of the kernels are shown larger, too."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_networks(parser, images=500, most=1)
    group = parser.add_argument_group("what is looked at")
    hide = argparse.SUPPRESS
    group.add_argument(
        "--layers", nargs="+", metavar="NAME", default=hide, help="dynamic layers (default: four, from first to last)"
    )
    group.add_argument(
        "--channel", type=int, metavar="N", default=hide, help="one output channel (default: all as one vector)"
    )


def run(job: Job) -> None:
    """Compute, draw and write."""
    networks = job.networks()
    (network,) = networks
    known = [name for name, _ in iter_dynamic(network.module)]
    some = min(4, len(known))
    spread = [known[round(i * (len(known) - 1) / max(some - 1, 1))] for i in range(some)]
    asked = getattr(job.options, "layers", None) or spread
    layers = list(dict.fromkeys(layer_name(network, each, "--layers", dynamic=True) for each in asked))
    channel = getattr(job.options, "channel", None)
    for layer in layers:
        check_kernels(network.module, layer, channel)
    (network,) = job.with_images(networks)
    found = []
    with job.progress(len(layers) * network.images.batches) as progress:
        for layer in layers:
            batches = ((progress.at(layer), batch)[1] for batch in network.images)
            found.append(kernel_plane(network.module, layer, batches, channel))
    job.output.table("places", [row for each in found for row in _rows(each)])
    job.output.table("layers", [_summary(each) for each in found])
    job.output.picture("kernels", draw(found, network.label, network.images.count, channel))
    table = Table(["layer", "kernels", "in the plane", "spread of the mixtures"], 1)
    for each in found:
        table.rows.append([each.layer, str(len(each.kernels)), f"{sum(each.explained):.0%}", f"{each.spread:.4f}"])
    print(f"{network.label}: {network.images.count:,} images\n\n{table}\n")
    print("in the plane: share of the kernels' variance; spread: distance of the mixtures, as a share of the kernels'")


def _summary(each: KernelPlane) -> dict[str, object]:
    shares = {"explained_1": each.explained[0], "explained_2": each.explained[1]}
    return {"layer": each.layer, "kernels": len(each.kernels), **shares, "spread_of_mixtures": each.spread}


def _rows(each: KernelPlane) -> list[dict[str, object]]:
    kernels = [("kernel", k, "", place) for k, place in enumerate(each.kernels.tolist(), 1)]
    images = [
        ("mixture", n, label, place)
        for n, (place, label) in enumerate(zip(each.mixtures.tolist(), each.labels.tolist()))
    ]
    return [
        {"layer": each.layer, "what": what, "number": number, "label": label, "first": place[0], "second": place[1]}
        for what, number, label, place in (*kernels, *images)
    ]


def draw(found: Sequence[KernelPlane], label: str, images: int, channel: int | None = None) -> Figure:
    """Draw the hull of the kernels of each layer, and the mixtures inside it."""
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    zoomed = any(map(_tiny, found))
    height = (1.65 if columns == 2 else 2.5) + 0.6 * zoomed
    figure = Figure(figsize=(COLUMN, 0.8 + height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for each, axes in zip(found, panels):  # in this order no panel is taken that is not drawn
        _draw(axes, each)
    for axes in list(panels):
        axes.set_visible(False)
    handles = [
        Line2D([], [], color=COLOURS[1], marker="^", ls="-", ms=4, label="kernels, their hull"),
        Line2D([], [], color=COLOURS[0], marker=".", ls="", ms=4, label="an image's mixture"),
        Line2D([], [], color="black", marker="+", ls="", ms=5, label="average"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.3, columnspacing=1)
    which = "" if channel is None else f", channel {channel}"
    spreads = [each.spread for each in found]
    headline(
        figure,
        f"{label}{which}: the mixtures of {images:,} images spread {min(spreads):.1%} to {max(spreads):.1%} as far as "
        "the kernels",
    )
    return figure


def _draw(axes: Axes, each: KernelPlane) -> None:
    corners = hull(each.kernels)
    closed = torch.cat([corners, corners[:1]])
    axes.plot(*closed.T.numpy(), color=COLOURS[1], lw=0.9)
    axes.plot(*each.kernels.T.numpy(), "^", color=COLOURS[1], ms=4)
    for k, (x, y) in enumerate(each.kernels.tolist(), 1):
        axes.annotate(str(k), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6, color=GREY)
    _draw_inside(axes, each)
    lines = textwrap.wrap(each.layer.replace(".", ". "), 22)  # broken at dots
    axes.set_title("\n".join(line.replace(". ", ".") for line in lines), fontsize=6.5)
    axes.set_xlabel(f"direction 1, kernel weight\n({100 * each.explained[0]:.0f} % of variance)", fontsize=6)
    axes.set_ylabel(f"direction 2, kernel weight\n({100 * each.explained[1]:.0f} % of variance)", fontsize=6)
    axes.margins(0.12)
    tidy(axes)
    axes.tick_params(labelsize=6)
    if _tiny(each):
        _zoom(axes, each)


def _tiny(each: KernelPlane) -> bool:
    """Tell whether the mixtures would be a dot beside the kernels."""
    kernels, mixtures = (places.amax(0) - places.amin(0) for places in (each.kernels, each.mixtures))
    return bool((mixtures < ZOOMED * kernels).all())


def _draw_inside(axes: Axes, each: KernelPlane) -> None:
    axes.plot(0, 0, "+", color="black", ms=4, mew=0.6)
    axes.plot(*each.mixtures.T.numpy(), ".", color=COLOURS[0], ms=2.5, alpha=0.5, mew=0)


def _zoom(axes: Axes, each: KernelPlane) -> None:
    """Show the mixtures once more above the hull, many times larger, where they would be a single dot."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    width, tall = 0.9, 0.34  # of the inset, as shares of the panel
    axes.set_ylim(low, high + (high - low) * (tall + 0.14) / (1 - tall - 0.14))
    sides = ((right - left) * width, (axes.get_ylim()[1] - low) * tall)
    ends = [(min(places), max(places)) for places in each.mixtures.T.tolist()]
    times = _round(min(side / max(1.15 * (last - first), 1e-4 * side) for side, (first, last) in zip(sides, ends)))
    inset = axes.inset_axes((0.1, 1 - tall - 0.09, width, tall))
    _draw_inside(inset, each)
    for set_limits, side, (first, last) in zip((inset.set_xlim, inset.set_ylim), sides, ends):
        middle, half = (first + last) / 2, side / times / 2
        set_limits(middle - half, middle + half)
    inset.set_xticks([])
    inset.set_yticks([])
    inset.spines[:].set_linewidth(0.4)
    inset.set_title(f"mixtures, {times} x", fontsize=6, pad=2)
    axes.indicate_inset_zoom(inset, edgecolor=GREY, lw=0.4)


def _round(value: float) -> int:
    """Return the largest of 1, 2, 5, 10, 20, ... that is not above a value."""
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return max(step for step in (1, 2, 5) if step * power <= max(value, 1)) * power
