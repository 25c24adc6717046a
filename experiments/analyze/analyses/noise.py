"""Responses of single kernels and of their mixture to images with growing noise (DyNet's motivation).

DyNet (Zhang et al., https://arxiv.org/abs/2004.10694) shows this in its appendix A.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from matplotlib.figure import Figure

from dyc.analysis.noise import AVERAGE, MIXED, OUTPUT, Response, deviation, noise_responses, white_noise
from dyc.dynamic_model import iter_dynamic
from experiments.analyze.job import Job
from experiments.analyze.layers import layer_name
from experiments.analyze.output import COLUMN, headline
from experiments.analyze.parser import add_networks
from experiments.drawing import COLOURS, GREY, tidy
from lightning_modules.cli.arguments import positive
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table
from ops import ArgumentError

DYNAMIC = "mixtures"
SIGMAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
ASSUMED = (
    "Appendix A of DyNet was not at hand. Assumed: white Gaussian noise is added to the prepared image, in standard "
    "deviations of its pixels; the network before the layer stays as it is; the fixed kernels of the layer's bank, "
    "each with all the weight, stand for static kernels; and a response is compared with that of the same kernel to "
    "the clean image by Pearson's correlation, of each channel over images and pixels, averaged over the channels."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{parser.description} {ASSUMED}"
    add_networks(parser, images=100, most=2)
    group = parser.add_argument_group("what is looked at (a second network, such as the static twin, adds a line)")
    hide = argparse.SUPPRESS
    group.add_argument("--layer", metavar="NAME", default=hide, help="a layer (default: the first dynamic one)")
    group.add_argument(
        "--channel", type=int, metavar="N", default=hide, help="channel of the maps (default: the largest)"
    )
    group.add_argument(
        "--sigmas", nargs="+", type=positive, metavar="S", default=hide,
        help=f"amounts of noise (default: {' '.join(f'{each:g}' for each in SIGMAS[1:])})",
    )  # fmt: skip


def run(job: Job) -> None:
    """Compute, draw and write."""
    networks = job.networks(dynamic=False)
    first = networks[0]
    if not first.dynamic:
        job.refuse_static(first)
    asked = getattr(job.options, "layer", None)
    layers = [
        layer_name(each, asked, dynamic=each is first) if asked else next(iter_dynamic(first.module))[0]
        for each in networks
    ]
    networks = job.with_images(networks)
    first, layer = networks[0], layers[0]
    sigmas = (0.0, *sorted({*getattr(job.options, "sigmas", SIGMAS[1:])}))
    found: dict[str, list[Response]] = {}
    scales = []
    with job.progress(2 * sum(each.images.batches for each in networks)) as progress:
        for network, name in zip(networks, layers):
            whole = network is not first
            scales.append(deviation(_batches(network.images, progress, network.label)))
            batches = _batches(network.images, progress, network.label)
            seed = job.options.seed
            for each in noise_responses(network.module, name, batches, sigmas, scales[-1], seed, whole):
                line = network.label if whole or each.kernel == OUTPUT else each.kernel
                found.setdefault(line, []).append(each)
    if MIXED not in found:
        raise ArgumentError("--layer", repr(layer), f"a dynamic layer of {first.label}")
    channel = getattr(job.options, "channel", None)
    maps = found[MIXED][0].maps
    if channel is None:
        channel = int(maps.flatten(1).std(1).argmax())
    elif not 0 <= channel < len(maps):
        raise ArgumentError("--channel", channel, f"a number from 0 to {len(maps) - 1}, the channels of {layer}")
    rows = [
        {"network": first.label if name in (MIXED, AVERAGE) or name.startswith("kernel ") else name, "layer": layer,
         "kernel": each.kernel, "sigma": each.sigma, "correlation_with_clean": each.correlation,
         "images": first.images.count}
        for name, responses in found.items()
        for each in responses
    ]  # fmt: skip
    job.output.table("noise", rows)
    maps_of = {name: each for name, each in found.items() if name in (MIXED, AVERAGE) or name.startswith("kernel ")}
    job.output.table("maps", _map_rows(maps_of, channel))
    job.output.picture("noise", draw(found, layer, first.label, first.images.count))
    x = next(iter(first.images))[0][:1]
    noise = white_noise(x, scales[0], torch.Generator().manual_seed(job.options.seed))
    shown = [first.images.shown(x + sigma * noise)[0] for sigma in sigmas]
    job.output.picture("maps", draw_maps(maps_of, channel, layer, first.label, shown))
    table = Table(["kernel", *(f"noise {sigma:g} SD" for sigma in sigmas)], 1)
    for name, responses in found.items():
        table.rows.append([name, *(f"{each.correlation:.3f}" for each in responses)])
    print(f"{first.label}, {layer}: correlation of the responses with those to clean images\n\n{table}\n")
    print(f"SD: standard deviations of the images' pixels\n\n{ASSUMED}")


def _batches(images: Iterable, progress: Progress, label: str) -> Iterator[torch.Tensor]:
    for x, _ in images:
        progress.at(label)
        yield x


def _map_rows(found: Mapping[str, Sequence[Response]], channel: int) -> list[dict[str, object]]:
    return [
        {"kernel": name, "sigma": each.sigma, "channel": channel, "row": row, "column": column, "response": value}
        for name, responses in found.items()
        for each in responses
        for row, line in enumerate(each.maps[channel].tolist())
        for column, value in enumerate(line)
    ]


def draw(found: Mapping[str, Sequence[Response]], layer: str, label: str, images: int) -> Figure:
    """Draw the correlations with the clean response against the noise."""
    figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    axes = figure.subplots()
    for name, responses in found.items():
        look = {"color": GREY, "lw": 0.8, "marker": ".", "ms": 3, "alpha": 0.7}
        if name in (MIXED, AVERAGE):
            look = {"color": COLOURS[name != MIXED], "marker": "o" if name == MIXED else "s", "ms": 3.5}
        elif not name.startswith("kernel "):
            look = {"color": COLOURS[2], "marker": "^", "ms": 3.5, "ls": "--"}
        text = "one kernel of the bank" if name == "kernel 1" else f"_{name}" if name.startswith("kernel ") else name
        axes.plot([each.sigma for each in responses], [each.correlation for each in responses], label=text, **look)
    axes.set_xlabel("noise, standard deviations of the image's pixels")
    axes.set_ylabel("correlation with the response\nto the clean image")
    axes.legend()
    tidy(axes)
    axes.tick_params(labelsize=6.5)
    middle = min(found[MIXED], key=lambda each: abs(each.sigma - 0.5))
    at = [each.sigma for each in found[MIXED]].index(middle.sigma)
    single = [responses[at].correlation for name, responses in found.items() if name.startswith("kernel ")]
    headline(
        figure,
        f"{label}, {layer}, noise of {middle.sigma:g} standard deviations: correlation {middle.correlation:.3f} of the "
        f"mixture with its clean response, {min(single):.3f} to {max(single):.3f} of single kernels ({images:,} "
        "images)",
    )
    return figure


def draw_maps(
    found: Mapping[str, Sequence[Response]], channel: int, layer: str, label: str, pictures: Sequence[torch.Tensor]
) -> Figure:
    """Draw the response maps of one image: a row for each kernel, a column for each amount of noise.

    Args:
        found: Responses by kernel, without noise first.
        channel: The channel that is shown.
        layer: The layer's name.
        label: The network's label.
        pictures: The image with each amount of noise, ``(H, W, 3)``.
    """
    columns = len(pictures)
    side = (COLUMN - 0.75) / columns
    figure = Figure(figsize=(COLUMN, 1.05 + (side + 0.06) * (len(found) + 1)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.02, hspace=0.0)
    panels = figure.subplots(len(found) + 1, columns, squeeze=False)
    for axes, picture, response in zip(panels[0], pictures, next(iter(found.values()))):
        axes.imshow(picture.numpy(), interpolation="nearest")
        axes.set_title(f"{response.sigma:g} SD", fontsize=6, loc="center", pad=2)
    for line, (name, responses) in zip(panels[1:], found.items()):
        limit = max(each.maps[channel].abs().max().item() for each in responses[:1]) or 1.0
        for axes, each in zip(line, responses):
            response = each.maps[channel].cpu() / limit
            shown = axes.imshow(response.numpy(), cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
        line[0].set_ylabel(name.replace(" for the image", "").replace(" kernel", "\nkernel"), fontsize=6)
    panels[0][0].set_ylabel("image", fontsize=6)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_linewidth(0.3)
    bar = figure.colorbar(shown, ax=panels, location="bottom", aspect=45, shrink=0.8, pad=0.02, ticks=(-1, 0, 1))
    bar.set_label("response, 1: the row's largest without noise", fontsize=6.5)
    bar.ax.tick_params(labelsize=6)
    bar.outline.set_linewidth(0.4)
    headline(
        figure,
        f"{label}, {layer}, channel {channel}: responses to growing noise, in standard deviations (SD) of the pixels",
    )
    return figure
