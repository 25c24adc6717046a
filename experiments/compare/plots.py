"""Pictures of a comparison: learning curves with the state of the attention below them, and accuracy against size."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.compare.groups import Group, Summary, deviation
from experiments.compare.table import is_share
from experiments.drawing import COLOURS, PAGE, inline_svg, save_new, size_axis, tidy

FORMATS = (".png", ".svg", ".pdf")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v")
NAMES = {
    "attention/temperature": "temperature", "attention/entropy": "entropy,\nshare of log K", "val": "validation",
    "train": "training", "top1": "top-1", "top5": "top-5", "miou": "mIoU", "iou": "IoU",
    "pixel_accuracy": "pixel accuracy",
}  # fmt: skip
"""What the axes call metrics and splits, where it is not their own name."""

BELOW = ("attention/temperature", "attention/entropy")
"""What is drawn below the learning curves."""


def save(path: Path, groups: Sequence[Group], summaries: Sequence[Summary], metric: str) -> None:
    """Draw everything into one file.

    Args:
        path: A new file that ends with one of :data:`FORMATS`.
        groups: What is compared.
        summaries: Their figures.
        metric: The metric that is compared.

    Raises:
        ArgumentError: The file exists or cannot be made.
    """
    longest = max(len(group.name) for group in groups)
    columns = max(1, min(4, len(groups), 130 // (longest + 8)))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(11, 6 + 0.22 * rows), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - (0.1 + 0.22 * rows) / figure.get_figheight()))
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    draw_curves(left, groups, metric)
    draw_sizes(right, summaries, metric)
    figure.legend(handles=_handles(groups), loc="upper center", ncols=columns, frameon=False, fontsize=9)
    save_new(figure, path)


def page_pictures(groups: Sequence[Group], summaries: Sequence[Summary], metric: str) -> list[str]:
    """Return the pictures as SVG for a page, in the colour of its text and on its background."""
    with matplotlib.rc_context(PAGE):
        curves = Figure(figsize=(6.2, 5.4), layout="constrained")
        draw_curves(curves, groups, metric)
        sizes = Figure(figsize=(6.2, 5.4), layout="constrained")
        draw_sizes(sizes, summaries, metric)
        return [inline_svg(figure, name) for figure, name in ((curves, "curves"), (sizes, "sizes"))]


def look(index: int) -> dict[str, str]:
    """Return colour, line and marker of a group: each tells the first few apart, all three together sixty."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "ls": STYLES[index % len(STYLES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def metric_label(metric: str) -> str:
    """Return what an axis calls a metric.

    Example:
        >>> metric_label("val/top1"), metric_label("train/loss")
        ('top-1, % (validation)', 'loss (training)')
    """
    if metric in NAMES:
        return NAMES[metric]
    split, _, name = metric.partition("/")
    if not name:
        return metric
    name = " ".join(NAMES.get(part, part) for part in name.split("/"))
    return f"{name}{', %' if is_share(metric) else ''} ({NAMES.get(split, split)})"


def colour(index: int) -> str:
    """Return the colour of a group."""
    return COLOURS[index % len(COLOURS)]


def _handles(groups: Sequence[Group]) -> list[Line2D]:
    return [Line2D([], [], lw=2, ms=5, label=group.name, **look(index)) for index, group in enumerate(groups)]


def curve_metric(groups: Sequence[Group], metric: str) -> str:
    """Return the metric of the learning curves: the compared one if it has a curve, or what validation calls it."""
    runs = [run for group in groups for run in group.runs]
    known, usual = {name for run in runs for name in run.curves}, runs[0].watched
    return next((name for name in (metric, f"val/{metric.rpartition('/')[2]}") if name in known), usual)


def draw_curves(figure: FigureBase, groups: Sequence[Group], metric: str) -> None:
    """Draw learning curves, and below them what is known of temperature and entropy of the attention."""
    watched = curve_metric(groups, metric)
    known = {name for group in groups for run in group.runs for name in run.curves}
    below = [name for name in BELOW if name in known]
    panels = figure.subplots(
        1 + len(below), 1, sharex=True, squeeze=False, height_ratios=[3] + [1] * len(below)
    )[:, 0]  # fmt: skip
    for axes, name in zip(panels, (watched, *below)):
        for index, group in enumerate(groups):
            _curve(axes, group, name, index)
        axes.set_ylabel(metric_label(name), fontsize=9)
        tidy(axes)
    if is_share(watched):
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=""))
    for axes, name in zip(panels[1:], below):
        axes.set_ylim(*((-0.05, 1.05) if name.endswith("entropy") else (0, 1.1 * max(axes.dataLim.y1, 0.1))))
    panels[-1].set_xlabel("epoch", fontsize=9)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    last = max((run.epochs for group in groups for run in group.runs), default=1)
    panels[-1].set_xlim(1 - 0.04 * last, last + 0.04 * last)
    several = any(len(group.runs) > 1 for group in groups)
    panels[0].set_title("learning curves" + (" (mean ± standard deviation)" if several else ""), fontsize=9, loc="left")


def _curve(axes: Axes, group: Group, name: str, index: int) -> None:
    curves = [run.curves[name] for run in group.runs if name in run.curves]
    epochs = sorted({epoch for curve in curves for epoch in curve})
    if not epochs:
        return
    columns = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    means = [statistics.mean(column) for column in columns]
    spread = [deviation(column) if len(column) > 1 else 0.0 for column in columns]
    some = max(1, len(epochs) // 12)  # a marker at each of many epochs would hide the line
    axes.plot(epochs, means, lw=1.6, ms=4, markevery=some, **look(index))
    if any(spread):
        low, high = ([m + sign * s for m, s in zip(means, spread)] for sign in (-1, 1))
        axes.fill_between(epochs, low, high, color=colour(index), alpha=0.18, lw=0)


def draw_sizes(figure: FigureBase, summaries: Sequence[Summary], metric: str) -> None:
    """Draw the compared metric against MACs and against parameters."""
    upper, lower = figure.subplots(2, 1, sharey=True)
    for axes, name, label in ((upper, "macs", "MACs of one image"), (lower, "parameters", "parameters")):
        points = [(index, each, getattr(each, name)) for index, each in enumerate(summaries)]
        points = [(index, each, sizes[0]) for index, each, sizes in points if sizes and each.mean is not None]
        for index, each, size in points:
            axes.errorbar(
                size, each.mean, each.deviation, fmt=look(index)["marker"], ms=6, capsize=3, color=colour(index)
            )
        size_axis(axes, [size for *_, size in points])
        axes.set_xlabel(label, fontsize=9)
        axes.set_ylabel(metric_label(metric), fontsize=9)
        tidy(axes)
        if not points:
            axes.text(0.5, 0.5, "no run has them yet", transform=axes.transAxes, ha="center", fontsize=9)
    if is_share(metric):
        upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=""))
    upper.set_title(f"{metric} against size", fontsize=9, loc="left")
