"""Time of a call against the size of the image, and time of each layer.

As DyNet, Figure 7, and the DYC report, Tables 3 and 4. All networks take turns, so compare their ratios. Weights do not
matter: names of timm's need no training.
"""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dyc.benchmark import facts_line, machine
from dyc.benchmark.network_layers import LayerTime, time_network_layers
from dyc.benchmark.timing import summary, take_turns
from experiments.analyze.job import Job
from experiments.analyze.output import COLUMN, headline
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.arguments import positive, whole
from lightning_modules.cli.bench.plots import ticks
from lightning_modules.cli.tables import Table
from lightning_modules.errors import first_line
from lightning_modules.layer_groups import layer_group
from ops import ArgumentError

Times = Mapping[int, Mapping[str, tuple[float, float, float]]]
"""Median, 20th and 80th percentile in milliseconds, by size in pixels and label."""

MARKERS = ("o", "s", "^", "D")
HATCHED = {"alpha": 0.45, "hatch": "////", "lw": 0}
"""How the time of dynamic layers looks."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_networks(parser)
    group = parser.add_argument_group("what is timed")
    hide = argparse.SUPPRESS
    group.add_argument(
        "--sizes", nargs="+", type=whole, metavar="PIXELS", default=hide,
        help="heights and widths (default: 1, 2 and 4 times the usual size of the first network's images)",
    )  # fmt: skip
    group.add_argument("--batch", type=whole, default=1, metavar="N", help="images per call (default: 1)")
    group.add_argument("--threads", type=whole, metavar="N", default=hide, help="threads (default: PyTorch's choice)")
    group.add_argument(
        "--seconds",
        type=positive,
        default=5.0,
        help="seconds for each size, and for the layers of each network (default: 5)",
    )
    group.add_argument(
        "--layers-at", type=whole, metavar="PIXELS", default=hide, help="size for the layers (default: the first size)"
    )


@torch.no_grad()
def run(job: Job) -> None:
    """Time, draw and write."""
    options = job.options
    networks = job.networks()
    sizes = getattr(options, "sizes", None) or [networks[0].size[-1] * factor for factor in (1, 2, 4)]
    sizes = sorted(set(sizes))
    at = getattr(options, "layers_at", sizes[0])
    facts = {**machine(), "device": options.device}
    print(facts_line(facts), flush=True)
    times: dict[int, dict[str, tuple[float, float, float]]] = {}
    layers: dict[str, list[LayerTime]] = {}
    with job.progress(len(sizes) + len(networks)) as progress:
        for size in sizes:
            progress.at(f"{size} x {size}")
            calls = {each.label: partial(each.module, _images(each, options, size)) for each in networks}
            for label, call in calls.items():
                _try(call, label, size)
            found = take_turns(calls, device=options.device, seconds=options.seconds)
            times[size] = {label: summary(each) for label, each in found.items()}
        for each in networks:
            progress.at(f"layers of {each.label}")
            images = _images(each, options, at)
            _try(partial(each.module, images), each.label, at)
            layers[each.label] = time_network_layers(
                each.module, images, device=options.device, seconds=options.seconds
            )
    first = networks[0].label
    job.output.table("sizes", _size_rows(times, first, options.batch, facts))
    job.output.table("layers", _layer_rows(layers, at, options.batch, facts))
    job.output.picture("sizes", draw_sizes(times, first, options.batch, facts))
    job.output.picture("layers", draw_layers(layers, at, options.batch, facts))
    table = Table(["pixels", "network", "ms", "20 % to 80 %", f"x {first}"], 2)
    for size, found in times.items():
        for label, (median, low, high) in found.items():
            ratio = f"{median / found[first][0]:.3f}"
            table.rows.append([str(size), label, f"{median:.3f}", f"{low:.3f} to {high:.3f}", ratio])
    print(table)


def _images(network, options: argparse.Namespace, size: int) -> torch.Tensor:
    x = torch.randn(options.batch, network.size[0], size, size, generator=torch.Generator().manual_seed(0))
    return x.to(options.device, memory_format=torch.channels_last)


def _try(call: partial, label: str, size: int) -> None:
    """Call once, so that what a network refuses is said in one line."""
    try:
        call()
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ArgumentError("--sizes", size, f"a size that {label} takes ({first_line(error)})") from error


def _size_rows(times: Times, first: str, batch: int, facts: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {"network": label, "pixels": size, "batch": batch, "median_ms": median, "p20_ms": low, "p80_ms": high,
         "to_first": median / found[first][0], **facts}
        for size, found in times.items()
        for label, (median, low, high) in found.items()
    ]  # fmt: skip


def _layer_rows(
    layers: Mapping[str, Sequence[LayerTime]], at: int, batch: int, facts: Mapping[str, str]
) -> list[dict[str, object]]:
    return [
        {"network": label, "pixels": at, "batch": batch, "layer": each.layer, "stage": layer_group(each.layer),
         "dynamic": each.dynamic, "in_channels": each.channels[0], "out_channels": each.channels[1],
         "height": each.size[0], "width": each.size[1], "median_ms": each.median_ms, "p20_ms": each.p20_ms,
         "p80_ms": each.p80_ms, **facts}
        for label, found in layers.items()
        for each in found
    ]  # fmt: skip


def draw_sizes(times: Times, first: str, batch: int, facts: Mapping[str, str]) -> Figure:
    """Draw milliseconds against the image size, and of several networks the ratios to the first below them."""
    sizes = list(times)
    labels = list(times[sizes[0]])
    several = len(labels) > 1
    figure = Figure(figsize=(COLUMN, 3.6 if several else 2.4), layout="constrained")
    panels = figure.subplots(1 + several, 1, sharex=True, squeeze=False, height_ratios=(1.4, 1)[: 1 + several])[:, 0]
    upper, lower = panels[0], panels[-1]
    for number, label in enumerate(labels):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        medians = [times[size][label][0] for size in sizes]
        upper.plot(sizes, medians, color=colour, marker=marker, ms=3.5, label=label)
        upper.fill_between(sizes, *zip(*(times[size][label][1:] for size in sizes)), color=colour, alpha=0.2, lw=0)
        if several:
            lower.plot(sizes, _ratios(times, label, first), color=colour, marker=marker, ms=3.5)
    upper.set_yscale("log")
    ends = [value for found in times.values() for each in found.values() for value in each]
    upper.yaxis.set_major_locator(FixedLocator(ticks(min(ends), max(ends))))
    upper.yaxis.set_minor_locator(NullLocator())
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    upper.set_ylabel("time of a call, ms")
    upper.legend()
    if several:
        lower.axhline(1, color=GREY, lw=0.6, ls="--")
        lower.set_ylabel("\n".join(textwrap.wrap(f"x {first}", 22)))
    lower.set_xlabel(f"height and width of the image, pixels; batch {batch}")
    lower.set_xscale("log")
    lower.xaxis.set_major_locator(FixedLocator(sizes))
    lower.xaxis.set_minor_locator(NullLocator())
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes in panels:
        tidy(axes)
        axes.tick_params(labelsize=6.5)
    where = facts["gpu"] if facts["device"] == "cuda" else f"{facts['cpu']}, {facts['threads']}"
    headline(figure, f"{_seen(times, labels, first)} ({where})")
    return figure


def _ratios(times: Times, label: str, first: str) -> list[float]:
    return [found[label][0] / found[first][0] for found in times.values()]


def _seen(times: Times, labels: Sequence[str], first: str) -> str:
    """Return what the picture of the sizes shows: of two or three networks the ratios, of one the times."""
    sizes = list(times)
    between = f"{sizes[0]} to {sizes[-1]} pixels" if len(sizes) > 1 else f"{sizes[0]} pixels"
    if len(labels) == 1:
        ends = [f"{times[size][first][0]:.3g} ms at {size}" for size in dict.fromkeys((sizes[0], sizes[-1]))]
        return f"A call of {first} takes {' and '.join(ends)} pixels"
    others = []
    for label in labels[1:3]:
        ends = dict.fromkeys(f"{value:.2f}" for value in sorted(_ratios(times, label, first)))
        low, *_, high = [*ends] * 2
        others.append(f"{label} takes {low if low == high else f'{low} to {high}'} times {first}")
    return f"At {between}, {' and '.join(others)}"


def draw_layers(layers: Mapping[str, Sequence[LayerTime]], at: int, batch: int, facts: Mapping[str, str]) -> Figure:
    """Draw the time of the convolutions of each stage, the share of dynamic ones hatched."""
    groups = list(dict.fromkeys(layer_group(each.layer) for found in layers.values() for each in found))
    figure = Figure(
        figsize=(COLUMN, 1.25 + 0.16 * len(layers) + (0.08 + 0.1 * len(layers)) * len(groups)), layout="constrained"
    )
    axes = figure.subplots()
    height = 0.8 / len(layers)
    handles = []
    for number, (label, found) in enumerate(layers.items()):
        rows = [row + (number - (len(layers) - 1) / 2) * height for row in range(len(groups))]
        colour = COLOURS[number % len(COLOURS)]
        static, dynamic = (
            [sum(each.median_ms for each in found if layer_group(each.layer) == group and each.dynamic is kind)
             for group in groups]
            for kind in (False, True)
        )  # fmt: skip
        axes.barh(rows, static, height * 0.9, color=colour)
        handles.append(Patch(color=colour, label=label))
        if any(dynamic):
            axes.barh(rows, dynamic, height * 0.9, left=static, color=colour, **HATCHED)
    if any(each.dynamic for found in layers.values() for each in found):
        handles.append(Patch(facecolor=GREY, label="hatched: dynamic, with attention", **HATCHED))
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("time of the stage's convolutions, each alone, ms")
    figure.legend(handles=handles, loc="outside lower center")
    tidy(axes)
    axes.tick_params(labelsize=6.5)
    axes.grid(axis="y", visible=False)
    totals = ", ".join(f"{sum(each.median_ms for each in found):.2f} ms in {label}" for label, found in layers.items())
    headline(figure, f"All convolutions at {at} x {at} pixels, batch {batch}: {totals}")
    return figure
