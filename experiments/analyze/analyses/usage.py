"""Attention by layer and class: entropy, variation, heat maps, and the images that use a kernel most."""

import argparse
import math
from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dyc.analysis.attention_usage import LayerUsage, attention_usage
from experiments.analyze.job import Job
from experiments.analyze.layers import layer_name
from experiments.analyze.output import COLUMN, headline
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.arguments import whole
from lightning_modules.cli.tables import Table
from ops import ArgumentError

DYNAMIC = "attention"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_networks(parser, images=2000, most=1)
    group = parser.add_argument_group("what is drawn")
    hide = argparse.SUPPRESS
    group.add_argument(
        "--layer", metavar="NAME", default=hide, help="layer of the heat map and the images (default: the most varied)"
    )
    group.add_argument(
        "--classes", type=whole, default=24, metavar="N", help="classes of the heat map, the most unusual (default: 24)"
    )
    group.add_argument("--each", type=whole, default=5, metavar="N", help="images for each kernel (default: 5)")


def run(job: Job) -> None:
    """Compute, draw and write."""
    networks = job.networks()
    asked = getattr(job.options, "layer", None)
    layer = asked and layer_name(networks[0], asked, dynamic=True)
    (network,) = job.with_images(networks)
    images, names = network.images, network.images.class_names
    with job.progress(images.batches) as progress:
        batches = ((progress.at(network.label), batch)[1] for batch in images)
        found = attention_usage(network.module, batches, len(names), job.options.each)
    layer = layer or max(found, key=lambda name: found[name].variation)
    if layer not in found:
        raise ArgumentError("--layer", repr(asked), "a layer that the network runs")
    pictures, labels = images.pick(found[layer].top.flatten().tolist())
    job.output.table("layers", _layer_rows(found))
    job.output.table("classes", _class_rows(found, names))
    job.output.table("images", _image_rows(found, images))
    job.output.picture("layers", draw_layers(found, network.label, images.count))
    job.output.picture("classes", draw_classes(found[layer], layer, names, job.options.classes, network.label))
    shown = [names[label] for label in labels]
    job.output.picture("images", draw_images(found[layer], layer, images.shown(pictures), shown, network.label))
    table = Table(["layer", "entropy", "variation", "explained by class", "mean weight of each kernel"], 1)
    for name, each in found.items():
        weights = " ".join(f"{weight:.3f}" for weight in each.kernels.tolist())
        table.rows.append([name, f"{each.entropy:.4f}", f"{each.variation:.4f}", f"{each.class_share:.1%}", weights])
    print(f"{network.label}: {images.count:,} images\n\n{table}\n\nheat map and images: {layer}")
    if images.masked:
        print("class of an image: the one that most of its pixels have")


def _layer_rows(found: Mapping[str, LayerUsage]) -> list[dict[str, object]]:
    most = max(len(each.kernels) for each in found.values())
    rows = []
    for name, each in found.items():
        weights = [*each.kernels.tolist(), *[""] * (most - len(each.kernels))]
        row = {"layer": name, "entropy": each.entropy, "variation": each.variation, "class_share": each.class_share}
        rows.append({**row, **{f"kernel_{k}": weight for k, weight in enumerate(weights, 1)}})
    return rows


def _class_rows(found: Mapping[str, LayerUsage], names: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"layer": layer, "class": name, "kernel": k, "mean_weight": weight}
        for layer, each in found.items()
        for name, weights in zip(names, each.classes.tolist())
        for k, weight in enumerate(weights, 1)
        if weight == weight  # a class without images has none
    ]


def _image_rows(found: Mapping[str, LayerUsage], images) -> list[dict[str, object]]:
    names = images.names
    return [
        {"layer": layer, "kernel": k, "rank": rank, "image": names[number], "weight": weight}
        for layer, each in found.items()
        for k, (numbers, weights) in enumerate(zip(each.top.tolist(), each.top_weights.tolist()), 1)
        for rank, (number, weight) in enumerate(zip(numbers, weights), 1)
    ]


def draw_layers(found: Mapping[str, LayerUsage], label: str, images: int) -> Figure:
    """Draw entropy, variation and share of the class of every layer, side by side."""
    figure = Figure(figsize=(COLUMN, 0.9 + 0.16 * len(found)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    mean = sum(each.entropy for each in found.values()) / len(found)
    share = sum(each.class_share for each in found.values()) / len(found)
    headline(
        figure,
        f"{label}: mean entropy {mean:.3f} (1 is uniform); the class explains {share:.0%} of what varies "
        f"over {images:,} images",
    )
    values = {
        "entropy,\nshare of log K": [each.entropy for each in found.values()],
        "standard\ndeviation\nof a weight": [each.variation for each in found.values()],
        "explained\nby class": [each.class_share for each in found.values()],
    }
    for axes, (title, numbers), colour in zip(panels, values.items(), COLOURS):
        rows = range(len(numbers))
        axes.hlines(rows, 0, numbers, color=colour, lw=0.8)
        axes.plot(numbers, rows, "o", color=colour, ms=3)
        axes.set_xlabel(title)
        axes.set_xlim(0, max(*numbers, 1e-3) * 1.15 if "deviation" in title else 1.05)
        tidy(axes)
        axes.tick_params(labelsize=6)
    panels[0].set_yticks(range(len(found)), found)
    panels[0].set_ylim(len(found) - 0.5, -0.5)
    return figure


def draw_classes(each: LayerUsage, layer: str, names: Sequence[str], count: int, label: str) -> Figure:
    """Draw the mean weights of kernels by class, as their difference from those of all images."""
    there = (~each.classes.isnan().any(1)).nonzero().flatten()
    difference = each.classes[there] - each.kernels
    order = difference.abs().amax(1).argsort(descending=True)[:count]
    # The classes of one kernel stand together.
    order = order[
        torch.argsort(difference[order].argmax(1) * 10 - difference[order].amax(1) / 10 / _largest(difference))
    ]
    table, rows = difference[order], [names[there[i]] for i in order]
    figure = Figure(figsize=(COLUMN, max(2.4, 0.95 + 0.115 * len(rows))), layout="constrained")
    axes = figure.subplots()
    limit = _largest(difference)
    shown = axes.imshow(table.numpy(), aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks(range(table.shape[1]), [f"{k}\n({w:.3f})" for k, w in enumerate(each.kernels.tolist(), 1)])
    axes.set_yticks(range(len(rows)), rows, fontsize=6)
    axes.set_xlabel("kernel (its mean weight over all images)")
    bar = figure.colorbar(shown, label="mean weight of the class\nminus that of all images")
    bar.outline.set_linewidth(0.4)
    which = f"the {len(rows)} most unusual of {len(there)} classes" if len(rows) < len(there) else "all classes"
    headline(
        figure, f"{label}, {layer}: classes change a kernel's weight{_channels(each)} by up to {limit:.2g}; {which}"
    )
    return figure


def _channels(each: LayerUsage) -> str:
    return f" (mean of {each.channels} channels)" if each.channels > 1 else ""


def _largest(difference: Tensor) -> float:
    return max(difference.abs().max().item(), 1e-6)


def draw_images(each: LayerUsage, layer: str, pictures: Tensor, classes: Sequence[str], label: str) -> Figure:
    """Draw the images that give each kernel most weight, a row for each kernel.

    Args:
        each: The attention of the layer.
        layer: Its name.
        pictures: The images, ``(K * n, H, W, 3)``, row by row.
        classes: Names of their classes.
        label: The network's label.
    """
    kernels, count = each.top.shape
    columns = min(count, 5)  # more would leave no room for letters that can be read
    lines = -(-count // columns)  # of each kernel
    side = (COLUMN - 0.4) / max(columns, 4)
    tall = pictures.shape[1] / pictures.shape[2]
    figure = Figure(figsize=(COLUMN, 0.55 + (side * min(tall, 1.5) + 0.28) * kernels * lines), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.02, hspace=0.0)
    panels = figure.subplots(kernels * lines, columns, squeeze=False)
    more = each.top_weights - each.kernels[:, None]
    decimals = min(6, max(2, 1 - math.floor(math.log10(_largest(more)))))  # two figures of the largest
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for place, (picture, name) in enumerate(zip(pictures, classes)):
        k, rank = divmod(place, count)
        axes = panels[k * lines + rank // columns, rank % columns]
        axes.imshow(picture.numpy(), interpolation="nearest")
        axes.set_title(f"{name[:8]}…" if len(name) > 9 else name, fontsize=6, pad=1.5, loc="center", color=GREY)
        axes.set_xlabel(f"{more[k, rank]:+.{decimals}f}", fontsize=6, labelpad=1)
        if rank == 0:
            axes.set_ylabel(f"kernel {k + 1}\n(mean {each.kernels[k]:.3f})", fontsize=6)
    headline(
        figure,
        f"{label}, {layer}: the images that give each kernel most weight{_channels(each)}, and how much more than "
        "its mean",
    )
    return figure
