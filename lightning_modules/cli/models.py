"""``dyc models``: every network with its parameters and MACs, and what the papers print about it."""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from fnmatch import fnmatch

import timm
import torch
from torch import nn

import dyc
from dyc.counting import CONVENTIONS, Figure, Profile, figures
from dyc.meta_device import usual_input_sizes
from dyc.models.arguments import network_arguments
from dyc.text_table import line
from lightning_modules.cli.imports import import_given
from lightning_modules.cli.parsers import models_parser
from ops import ArgumentError, unknown_name

NETWORK = {
    "model": "model",
    "parameters": "parameters",
    "parameters_published": "published",
    "parameters_gap": "gap",
    "macs": "MACs",
    "mixing_macs": "mixing MACs",
    "operations": "counted",
    "convention": "as",
    "operations_published": "published",
    "operations_gap": "gap",
    "image_size": "pixels",
    "num_classes": "classes",
}
"""Columns of the list of networks: names in files, and headings of the table."""

FIGURE = {
    "model": "model",
    "arguments": "with",
    "quantity": "quantity",
    "counted": "counted",
    "convention": "as",
    "published": "published",
    "gap": "gap",
    "paper": "paper",
    "table": "table",
    "status": "status",
    "note": "note",
}
"""Columns of the list of published figures."""

LEFT = {"model", "with", "quantity", "as", "paper", "table", "status", "note"}
"""Headings of the columns that are aligned to the left."""

WIDTHS = {
    "model": 30,
    "arguments": 15,
    "parameters": 12,
    "parameters_published": 11,
    "macs": 15,
    "mixing_macs": 13,
    "operations": 15,
    "operations_published": 11,
    "counted": 15,
    "convention": 27,
    "published": 11,
    "paper": 52,
    "table": 26,
}
"""Characters of the wide columns: rows are printed one by one, before the widest cell is known."""


def build(name: str, **kwargs) -> nn.Module:
    """Build a network; this package's own without memory for its weights, which counting does not need."""
    own = timm.model_entrypoint(name).__module__.startswith("dyc.")
    with torch.device("meta") if own else nullcontext():
        return timm.create_model(name, **kwargs)


def count(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> Profile:
    """Profile a network at its own image size or another one: height and width, or one number for both."""
    described = getattr(model, "default_cfg", None)  # a user's own network need not have any
    channels, height, width = described["input_size"] if described else usual_input_sizes(model)[0]
    if image_size is not None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return dyc.profile(model, (channels, height, width))


def compare(figure: Figure, counts: Profile) -> dict:
    """Return a published figure beside our count; the gap is ``"="`` where the rounded count is the figure."""
    without = "" if figure.classifier else " (no classifier)"
    return {
        "model": figure.model,
        "arguments": " ".join(f"{name}={value}" for name, value in figure.arguments.items()),
        "quantity": figure.quantity,
        "counted": figure.counted(counts),
        "convention": figure.convention + without,
        "published": figure.value + figure.unit,
        "gap": "=" if figure.reproduces(counts) else f"{figure.gap(counts):+.1%}",
        "paper": figure.paper,
        "table": figure.table,
        "status": figure.status,
        "note": figure.note,
    }


def describe(name: str, options: argparse.Namespace) -> tuple[dict, Profile]:
    """Return the row of one network and its profile; figures are for the network's own classes and image size."""
    model = build(name, **({} if options.num_classes is None else {"num_classes": options.num_classes}))
    counts = count(model, options.image_size)
    row = dict.fromkeys(NETWORK, "") | {
        "model": name,
        "parameters": counts.parameters,
        "macs": counts.macs,
        "mixing_macs": counts.mixing_macs,
        "image_size": counts.input_size[1],
        "num_classes": getattr(model, "num_classes", ""),
    }
    own = getattr(model, "default_cfg", None)
    if own and (row["image_size"], row["num_classes"]) == (own["input_size"][1], own["num_classes"]):
        for figure in reversed([figure for figure in figures(name) if not figure.arguments]):
            found = compare(figure, counts)
            row[f"{figure.quantity}_published"], row[f"{figure.quantity}_gap"] = found["published"], found["gap"]
            if figure.quantity == "operations":
                row["operations"], row["convention"] = found["counted"], found["convention"]
    return row, counts


def write(rows: Iterable[tuple[dict, str]], columns: dict[str, str], as_csv: bool) -> None:
    """Print rows as they come, each with the text that follows it: comma-separated, or aligned under headings."""
    titles = list(columns.values())
    right = set(titles) - LEFT
    widths = [WIDTHS.get(name, 11 if title in LEFT else 7) for name, title in columns.items()]
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    if as_csv:
        writer.writeheader()
    else:
        print(line(titles, titles, widths, right))
    for row, after in rows:
        if as_csv:
            writer.writerow(row)
        else:
            cells = [f"{row[name]:,}" if isinstance(row[name], int) else row[name] for name in columns]
            print(line(titles, cells, widths, right), flush=True)
        if after:
            print(after)


def listed_figures(names: Sequence[str]) -> Iterator[tuple[dict, str]]:
    """Yield the row of every figure that is printed about these networks."""
    for name in names:
        profiles = {}
        for figure in figures(name):
            if figure.model != name and figure.model in names:
                continue  # another name of the same network
            arguments = tuple(figure.arguments.items())
            if arguments not in profiles:
                profiles[arguments] = count(build(name, **figure.arguments))
            yield compare(figure, profiles[arguments]), ""


def names() -> list[str]:
    """Return what a shell offers to complete: the networks."""
    return dyc.models.model_names()


def main(argv: Sequence[str]) -> None:
    """Run ``dyc models ...``; ``argv`` starts with the command's name."""
    options = models_parser().parse_args(argv[1:])
    if options.conventions:
        print("\n".join(f"{name}: {rule.summary}" for name, rule in CONVENTIONS.items()))
        return
    known = set(timm.list_models())
    import_given(options)
    imported = set(timm.list_models()) - known
    names = timm.list_models() if options.timm else sorted({*dyc.models.model_names(), *imported})
    chosen = [name for name in names if fnmatch(name, options.filter)]
    if options.arguments and not chosen and timm.is_model(options.filter):
        chosen = [options.filter]
    if not chosen and any(fnmatch(name, options.filter) for name in timm.list_models()):
        sentence = (
            f"{options.filter!r} matches none of this package's networks; add --timm to list all of timm's models"
        )
        raise ArgumentError("filter", sentence=sentence)
    if not chosen:
        raise unknown_name(
            "filter", options.filter, names, listing="a pattern that matches a network, such as '*cifar*'"
        )
    if options.arguments:
        for name in chosen:
            print("\n  ".join([name, *map(str, network_arguments(name).values())]))
        return
    if not options.published:
        described = (describe(name, options) for name in chosen)
        rows = ((row, str(counts) if options.layers else "") for row, counts in described)
        write(rows, NETWORK, options.csv)
        return
    if options.num_classes is not None or options.image_size is not None or options.layers:
        others = "--num-classes, --image-size or --layers"
        sentence = (
            f"cannot be combined with {others}: published figures are for the papers' own classes and image sizes"
        )
        raise ArgumentError("--published", sentence=sentence)
    write(listed_figures(chosen), FIGURE, options.csv)
