"""Correlation between the channels of a layer, static beside dynamic.

Pearson correlation over images and pixels, as in Zhang et al., DyNet, Figures 2 and 6,
https://arxiv.org/abs/2004.10694. DyNet sorts correlations into strong, middle, weak and none at the second-last stage,
and does not say where these begin.
"""

import argparse
from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from dyc.analysis.correlation import BINS, EDGES, LayerCorrelation, bin_shares, channel_correlation, second_last_stage
from experiments.analyze.job import Job
from experiments.analyze.layers import layer_name
from experiments.analyze.output import COLUMN, headline, legend_columns
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.tables import Table
from ops import ArgumentError

BARS = 100
"""Bars of the histogram, from -1 to 1."""

DYNET = (-0.1, 0.2)
"""Between these, DyNet's text says, lie most correlations of dynamic kernels."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_networks(parser, images=1000)
    group = parser.add_argument_group("what is looked at")
    group.add_argument(
        "--layer",
        nargs="+",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="the layer, or one for each network (default: the second-last stage)",
    )
    group.add_argument(
        "--edges",
        nargs=3,
        type=float,
        default=EDGES,
        metavar="R",
        help=f"absolute values where weak, middle and strong begin (default: {' '.join(map(str, EDGES))})",
    )
    group.add_argument(
        "--equal",
        action="store_true",
        help="scale the features of each image to the same size: none outweighs the others",
    )


def run(job: Job) -> None:
    """Compute, draw and write."""
    edges = tuple(job.options.edges)
    bin_shares(torch.zeros(0), edges)  # raises before any work
    networks = job.networks()
    asked = getattr(job.options, "layer", None)
    if asked and len(asked) not in (1, len(networks)):
        raise ArgumentError("--layer", f"{len(asked)} names", f"one, or {len(networks)}: one for each network")
    asked = asked * len(networks) if asked and len(asked) == 1 else asked
    layers = list(map(layer_name, networks, asked)) if asked else [second_last_stage(each.module) for each in networks]
    networks = job.with_images(networks)
    found: dict[str, LayerCorrelation] = {}
    with job.progress(sum(each.images.batches for each in networks)) as progress:
        for network, layer in zip(networks, layers):
            batches = ((progress.at(network.label), x)[1] for x, _ in network.images)
            found[network.label] = channel_correlation(network.module, layer, batches, job.options.equal)
    rows = [_row(label, each, edges) for label, each in found.items()]
    job.output.table("summary", rows)
    job.output.table("histogram", _histogram(found))
    job.output.picture("correlation", draw(found, edges))
    table = Table(
        ["network", "layer", "channels", "constant", "loudest", "mean |r|", "5 % to 95 %", *reversed(BINS)], 2
    )
    for row in rows:
        middle = f"{row['p5']:+.2f} to {row['p95']:+.2f}"
        shares = [f"{row[name]:.1%}" for name in reversed(BINS)]
        counts = [str(row["channels"]), str(row["constant_channels"]), f"{row['loudest_image']:.1f}"]
        table.rows.append([row["network"], row["layer"], *counts, f"{row['mean_abs']:.3f}", middle, *shares])
    print(table)
    print("loudest: size of the features of the loudest image, over that of the median; see --equal where it is large")
    for label, each in found.items():
        if each.dead:
            print(f"{label}: constant over all images, and left out: channels {', '.join(map(str, each.dead))}")


def _row(label: str, found: LayerCorrelation, edges: Sequence[float]) -> dict[str, object]:
    pairs = found.pairs.sort().values
    last = len(pairs) - 1
    return {
        "network": label,
        "layer": found.layer,
        "images": found.images,
        "observations": found.observations,
        "channels": len(found.alive),
        "constant_channels": len(found.dead),
        "loudest_image": found.loudest,
        "pairs": len(pairs),
        "mean_abs": pairs.abs().mean().item(),
        "p5": pairs[round(0.05 * last)].item(),
        "median": pairs[round(0.5 * last)].item(),
        "p95": pairs[round(0.95 * last)].item(),
        f"from_{DYNET[0]}_to_{DYNET[1]}": ((pairs >= DYNET[0]) & (pairs <= DYNET[1])).double().mean().item(),
        **found.bins(edges),
        "weak_from": edges[0],
        "middle_from": edges[1],
        "strong_from": edges[2],
        "constant": " ".join(map(str, found.dead)),
    }


def _histogram(found: Mapping[str, LayerCorrelation]) -> list[dict[str, object]]:
    rows = []
    for label, each in found.items():
        counts = torch.histc(each.pairs, BARS, -1, 1)
        for bar, count in enumerate(counts.tolist()):
            low = -1 + 2 * bar / BARS
            row = {"network": label, "layer": each.layer, "from": low, "to": low + 2 / BARS, "pairs": int(count)}
            rows.append({**row, "share": count / len(each.pairs)})
    return rows


def draw(found: Mapping[str, LayerCorrelation], edges: Sequence[float]) -> Figure:
    """Draw the histogram of correlations, and below it the shares of the bins.

    Args:
        found: Correlations by the network's label.
        edges: Absolute correlations where weak, middle and strong begin.
    """
    columns = legend_columns(found)
    figure = Figure(figsize=(COLUMN, 3.6 + 0.14 * -(-len(found) // columns)), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(1.5, 1))
    means = [f"{each.pairs.abs().mean():.2f} {label}" for label, each in found.items()]
    layers = ", ".join(dict.fromkeys(each.layer for each in found.values()))
    images = next(iter(found.values())).images
    headline(figure, f"Correlation r of the channels of {layers}, {images:,} images; mean |r|: {', '.join(means)}")
    _draw_histogram(upper, found, edges)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    width = 0.8 / len(found)
    for number, (label, each) in enumerate(found.items()):
        shares = list(reversed(each.bins(edges).values()))
        places = [bar + (number - (len(found) - 1) / 2) * width for bar in range(len(BINS))]
        bars = lower.bar(places, shares, width * 0.92, color=COLOURS[number % len(COLOURS)], label=label)
        lower.bar_label(bars, [f"{100 * share:.0f}" for share in shares], fontsize=6)
    weak, middle, strong = (f"{edge:g}" for edge in edges)
    bounds = [f"|r| ≥ {strong}", f"{middle} to {strong}", f"{weak} to {middle}", f"< {weak}"]
    lower.set_xticks(range(len(BINS)), [f"{name}\n{bound}" for name, bound in zip(reversed(BINS), bounds)])
    lower.set_ylabel("share of pairs")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    lower.margins(y=0.18)
    tidy(lower)
    lower.tick_params(labelsize=6.5)
    lower.grid(axis="x", visible=False)
    return figure


def _draw_histogram(axes: Axes, found: Mapping[str, LayerCorrelation], edges: Sequence[float]) -> None:
    ends = torch.linspace(-1, 1, BARS + 1).tolist()
    for number, (label, each) in enumerate(found.items()):
        shares = torch.histc(each.pairs, BARS, -1, 1) / len(each.pairs)
        colour = COLOURS[number % len(COLOURS)]
        axes.stairs(shares.tolist(), ends, color=colour, lw=1.2, ls=("-", "--", ":", "-.")[number % 4], label=label)
        if len(found) < 3:  # more would hide each other
            axes.stairs(shares.tolist(), ends, color=colour, alpha=0.12, fill=True)
    for edge in edges:
        for sign in (-1, 1):
            axes.axvline(sign * edge, color=GREY, lw=0.5, ls=":")
    axes.set_xlim(-1, 1)
    axes.set_xlabel("Pearson correlation r of two channels")
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.set_ylabel("share of pairs")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))  # none may be rounded to its neighbour
    tidy(axes)
    axes.tick_params(labelsize=6.5)
