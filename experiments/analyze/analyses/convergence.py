"""Learning curves by the temperature of the attention, from folders of runs.

As Figure 12 of Chen et al., Dynamic Convolution, https://arxiv.org/abs/1912.03458: near-uniform attention in the first
epochs trains better than a temperature of 1 from the start.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analyze.job import Job
from experiments.analyze.output import COLUMN, headline
from experiments.compare.folders import find, read_all
from experiments.compare.groups import Group, deviation, group_by_settings
from experiments.compare.plots import curve_metric, draw_curves, look, metric_label
from experiments.compare.table import is_share, value_text
from lightning_modules.cli.tables import Table
from ops import ArgumentError

TEMPERATURE = "attention/temperature"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "names", nargs="+", metavar="RUN", help="names below --runs, folders of runs, or patterns, as in dyc compare"
    )
    group = parser.add_argument_group("what is drawn")
    group.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    group.add_argument(
        "--metric",
        default=argparse.SUPPRESS,
        help="a metric with a value for each epoch (default: val/top1; of segmentation, val/miou)",
    )
    group.add_argument(
        "--labels", nargs="+", metavar="TEXT", default=argparse.SUPPRESS, help="what the picture calls the trainings"
    )


def run(job: Job) -> None:
    """Read, draw and write."""
    options = job.options
    runs, problems = read_all(find(options.names, options.runs))
    for problem in problems:
        print(f"left out: {problem}")
    metric = getattr(options, "metric", runs[0].watched if runs else "val/top1")
    runs = [each for each in runs if metric in each.curves]
    if not runs:
        raise ArgumentError("--metric", repr(metric), "one that these runs logged after each epoch, such as val/top1")
    found = sorted(group_by_settings(runs), key=_order)
    groups = _labelled(found, getattr(options, "labels", None))
    rows = [row for group in groups for row in _rows(group, metric)]
    finals = [_final(group, metric, groups) for group in groups]
    job.output.table("curves", rows)
    job.output.table("summary", finals)
    job.output.picture("convergence", draw(groups, metric, finals))
    table = Table(["training", "seeds", "epochs", f"{metric}, last", "best", "epochs to reach the lowest last"], 1)
    for each in finals:
        shown = [value_text(metric, each["last"]), value_text(metric, each["best"])]
        table.rows.append(
            [each["training"], str(each["seeds"]), str(each["epochs"]), *shown, str(each["reached_after"])]
        )
    print(table)


def temperature(group: Group) -> str:
    """Return how the temperature of a training's attention went: ``static``, a number, or ``30 to 1``."""
    curves = [run.curves[TEMPERATURE] for run in group.runs if TEMPERATURE in run.curves]
    if not curves:
        return "static"
    settings = group.runs[0].settings
    first = settings.get("temperature", curves[0][min(curves[0])])
    last = settings.get("temperature_end", curves[0][max(curves[0])])
    return f"τ={first:g}" if first == last else f"τ={first:g} to {last:g}"


def _order(group: Group) -> tuple[bool, str, float, float]:
    """Return a key that puts static networks first, and then each network's temperatures in order."""
    settings = group.runs[0].settings
    first, last = settings.get("temperature", 0.0), settings.get("temperature_end", 0.0)
    return temperature(group) != "static", str(settings.get("model", "")), first, last


def _labelled(groups: Sequence[Group], labels: Sequence[str] | None) -> list[Group]:
    """Return the groups named after their temperatures, their networks where these differ, and more where needed."""
    if labels is not None:
        if len(labels) != len(groups):
            names = ", ".join(group.name for group in groups)
            raise ArgumentError("--labels", f"{len(labels)}", f"{len(groups)}: one for each of {names}")
        return [replace(group, name=label) for group, label in zip(groups, labels)]
    dynamic = {group.runs[0].settings.get("model") for group in groups if temperature(group) != "static"}
    names = [temperature(group) for group in groups]
    if len(dynamic) > 1:
        names = [f"{group.runs[0].settings.get('model', '')}, {name}" for group, name in zip(groups, names)]
    return [
        replace(group, name=name if names.count(name) == 1 else f"{name}, {group.name}")
        for group, name in zip(groups, names)
    ]


def _rows(group: Group, metric: str) -> list[dict[str, object]]:
    epochs = sorted({epoch for run in group.runs for epoch in run.curves[metric]})
    rows = []
    for epoch in epochs:
        row: dict[str, object] = {"training": group.name, "epoch": epoch}
        for name in (metric, "train/loss", TEMPERATURE, "attention/entropy"):
            values = [run.curves[name][epoch] for run in group.runs if epoch in run.curves.get(name, {})]
            row[name] = sum(values) / len(values) if values else ""
            if name == metric:
                row["deviation"] = deviation(values) if len(values) > 1 else ""
                row["seeds"] = len(values)
        rows.append(row)
    return rows


def _means(group: Group, metric: str) -> Mapping[int, float]:
    return {row["epoch"]: row[metric] for row in _rows(group, metric)}


def _final(group: Group, metric: str, groups: Sequence[Group]) -> dict[str, object]:
    """Return how far a training came, and when it was as far as the one that ended lowest."""
    curve, smaller = _means(group, metric), not is_share(metric)
    best, worst = (min, max) if smaller else (max, min)
    level = worst(values[max(values)] for values in (_means(each, metric) for each in groups))
    ends = [values[max(values)] for values in (run.curves[metric] for run in group.runs)]
    reached = next((epoch for epoch, value in curve.items() if (value <= level if smaller else value >= level)), "")
    return {
        "training": group.name,
        "temperature": temperature(group).removeprefix("τ="),
        "metric": metric,
        "seeds": len(group.runs),
        "epochs": max(curve),
        "last": curve[max(curve)],
        "standard_error": deviation(ends) / len(ends) ** 0.5 if len(ends) > 1 else "",
        "best": best(curve.values()),
        "reached_after": reached,
        "level": level,
    }


def draw(groups: Sequence[Group], metric: str, finals: Sequence[Mapping[str, object]]) -> Figure:
    """Draw the curves, and below them temperature and entropy of the attention."""
    figure = Figure(figsize=(COLUMN, 3.9 + 0.16 * len(groups)), layout="constrained")
    body, legend = figure.subfigures(2, 1, height_ratios=(3.6, 0.1 + 0.16 * len(groups)))
    draw_curves(body, groups, curve_metric(groups, metric))
    body.axes[0].set_title("")
    handles = [Line2D([], [], ms=3.5, label=group.name, **look(i)) for i, group in enumerate(groups)]
    legend.legend(handles=handles, loc="upper center", handlelength=3.5)
    for axes in body.axes:
        axes.tick_params(labelsize=6.5)
        axes.yaxis.label.set_size(6.5)
        axes.xaxis.label.set_size(7)
        for line in axes.lines:
            line.set(linewidth=1.2, markersize=3)
    low, *_, high = sorted(finals, key=lambda each: each["last"]) * (1 if len(finals) > 1 else 2)
    ends = [f"{value_text(metric, each['last'])} for {each['training']}" for each in (low, high)]
    name = metric_label(metric).replace(", %", "")  # each value has its own
    headline(figure, f"{name} after {finals[0]['epochs']} epochs: " + " to ".join(dict.fromkeys(ends)))
    return figure
