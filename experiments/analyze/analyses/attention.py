"""Accuracy with the average kernel, the largest, shuffled attention, or none at some layers.

As the table of Chen et al., Dynamic Convolution, section 5.2, https://arxiv.org/abs/1912.03458. To switch attention
off at a layer means here to give all its kernels the same weight.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from matplotlib.figure import Figure

from dyc.analysis.attention_changes import CHANGES, Accuracy, accuracy, changed_attention, resolutions
from experiments.analyze.job import Job
from experiments.analyze.output import COLUMN, headline
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.arguments import one_of, whole
from lightning_modules.cli.tables import Table
from lightning_modules.layer_groups import layer_group
from ops import ArgumentError

DYNAMIC = "attention"
CLASSIFIES = True
INTACT = "as trained"
OFF = "average kernel"
"""What takes the place of attention where it is switched off."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_networks(parser, images=2000, most=1)
    group = parser.add_argument_group("where attention is switched off")
    group.add_argument(
        "--by",
        type=one_of(("resolution", "stage")),
        default="resolution",
        help="resolution (default; of the layers' outputs) or stage: one alone keeps its attention, or loses it",
    )
    group.add_argument(
        "--at",
        nargs="+",
        type=whole,
        metavar="PIXELS",
        default=argparse.SUPPRESS,
        help="attention at these resolutions together, such as 14 7, and at the others",
    )


def run(job: Job) -> None:
    """Compute, draw and write."""
    networks = job.networks()
    by, at = job.options.by, getattr(job.options, "at", None)
    if at is not None and networks[0].knows_size:
        blank = torch.zeros(1, *networks[0].size, device=job.options.device)
        dict(_cases(resolutions(networks[0].module, blank), by, at))  # raises before images are read
    (network,) = job.with_images(networks)
    places = resolutions(network.module, next(iter(network.images))[0][:1])
    cases = dict(_cases(places, by, at))
    found: dict[str, Accuracy] = {}
    reference = None
    with job.progress((len(cases) + 1) * network.images.batches) as progress:

        def batches(label: str) -> Iterator:
            for batch in network.images:
                progress.at(label)
                yield batch

        for label, (change, layers) in {INTACT: (None, None), **cases}.items():
            how = changed_attention(network.module, change, layers, job.options.seed) if change else nullcontext()
            with how:
                found[label], classes = accuracy(network.module, batches(label), reference)
            reference = classes if reference is None else reference
    counts = {label: len(places if layers is None else layers) for label, (_, layers) in cases.items()}
    job.output.table("accuracy", [_row(network.label, label, each, counts) for label, each in found.items()])
    layers = [{"layer": name, "stage": layer_group(name), "resolution": size} for name, size in places.items()]
    job.output.table("layers", layers)
    job.output.picture("attention", draw(found, network.label))
    table = Table(["attention", "layers changed", "top-1", "±", "change, points", "± ", "same class as trained"], 1)
    for label, each in found.items():
        figures = [f"{each.top1:.1%}", f"{100 * each.error:.1f}"]
        figures += [f"{100 * each.change:+.1f}", f"{100 * each.change_error:.1f}", f"{each.agreement:.1%}"]
        table.rows.append([label, str(counts.get(label, 0)), *figures])
    print(f"{network.label}: {found[INTACT].images:,} images, {len(places)} dynamic layers\n\n{table}")


def _cases(
    places: Mapping[str, int], by: str, at: Sequence[int] | None
) -> Iterator[tuple[str, tuple[str, Sequence[str] | None]]]:
    """Yield what is done: its name, the change, and the layers that it is done to; None for all."""
    for change in CHANGES:
        yield change, (change, None)
    place_of = {name: f"{size} px" if by == "resolution" else layer_group(name) for name, size in places.items()}
    groups = list(dict.fromkeys(place_of.values()))
    if len(groups) > 1:
        for group in groups:
            yield f"attention only at {group}", (OFF, [name for name in places if place_of[name] != group])
        for group in groups if len(groups) > 2 else ():  # of two, each is the other's rest
            yield f"average kernel only at {group}", (OFF, [name for name in places if place_of[name] == group])
    if at is None:
        return
    unknown = [size for size in at if size not in places.values()]
    if unknown:
        known = ", ".join(map(str, dict.fromkeys(places.values())))
        raise ArgumentError("--at", unknown[0], f"resolutions of dynamic layers: {known} pixels")
    chosen, sizes = [name for name in places if places[name] in at], ", ".join(map(str, at))
    yield f"attention only at {sizes} px together", (OFF, [name for name in places if name not in chosen])
    yield f"attention not at {sizes} px", (OFF, chosen)


def _row(network: str, label: str, found: Accuracy, counts: Mapping[str, int]) -> dict[str, object]:
    return {
        "network": network,
        "attention": label,
        "layers_changed": counts.get(label, 0),
        "images": found.images,
        "top1": found.top1,
        "standard_error": found.error,
        "top5": found.top5,
        "loss": found.loss,
        "change_of_top1": found.change,
        "standard_error_of_change": found.change_error,
        "same_class_as_trained": found.agreement,
    }


def draw(found: Mapping[str, Accuracy], label: str) -> Figure:
    """Draw the accuracies as bars, the network as trained on top.

    Args:
        found: Accuracies by what was done.
        label: The network's label.
    """
    figure = Figure(figsize=(COLUMN, 0.75 + 0.2 * len(found)), layout="constrained")
    axes = figure.subplots()
    whole, low = found[INTACT], found[OFF]
    headline(
        figure,
        f"{label}: {100 * whole.top1:.1f} % of {whole.images:,} images right as trained, {100 * low.top1:.1f} % with "
        "the average kernel",
    )
    values = [100 * each.top1 for each in found.values()]
    errors = [100 * each.error for each in found.values()]
    colours = [GREY if name == INTACT else COLOURS[0 if name in CHANGES else 1] for name in found]
    axes.barh(range(len(found)), values, 0.7, color=colours)
    axes.errorbar(values, range(len(found)), xerr=errors, fmt="none", ecolor="black", elinewidth=0.7, capsize=1.5)
    edge = max(value + error for value, error in zip(values, errors))
    for row, (value, error) in enumerate(zip(values, errors)):
        behind = {"fc": "white", "ec": "none", "pad": 0.6}
        axes.text(value + error + 0.02 * edge, row, f"{value:.1f}", va="center", fontsize=6, bbox=behind)
    axes.axvline(values[0], color=GREY, lw=0.7, ls="--")
    axes.set_xlim(0, edge * 1.14)
    axes.set_yticks(range(len(found)), found)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("top-1 accuracy, %, ± standard error")
    tidy(axes)
    axes.tick_params(labelsize=6.5)
    axes.grid(axis="y", visible=False)
    return figure
