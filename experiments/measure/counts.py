"""Parameters and operations of rows, counted by :func:`dyc.profile` in the papers' ways of counting."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import timm
import torch

import dyc.models  # noqa: F401  (registers the networks)
from dyc.counting import Profile
from dyc.segmentation import create_segmentation
from experiments.measure.kept import record
from experiments.papers.catalog import find
from experiments.papers.entries import Figure, Row
from experiments.papers.units import measured_value
from experiments.records import Record, append
from lightning_modules.cli.jobs.history import machine_facts
from lightning_modules.cli.models import count as profile
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table


def profile_of(row: Row) -> Profile:
    """Profile a row's network at the row's image size, without memory for its weights."""
    classes = {} if row.num_classes is None else {"num_classes": row.num_classes}
    with torch.device("meta"):
        create = partial(create_segmentation, **row.segmentation) if row.segmentation else timm.create_model
        network = create(row.network, **classes, **row.arguments)
    return profile(network, row.image_size)


def counted(figure: Figure, counts: Profile) -> float:
    """Return what a figure is about, in its unit and its way of counting."""
    convention = figure.options.get("convention")
    if convention is None:
        return measured_value(figure, counts.parameters)
    return measured_value(figure, counts.count(convention, classifier=figure.options.get("classifier", True)))


def printing(row: Row) -> list[Row]:
    """Return the rows that print figures of a row's network: itself, and those that share its runs."""
    paper, _, _ = row.path.partition("/")
    return [each for each in find(paper) if each.measured_as == row.path]


def count(rows: Sequence[Row], results: Path) -> None:
    """Count what is printed about rows, print it beside, and add it to the records; each network is profiled once.

    Raises:
        ArgumentError: The records cannot be written.
    """
    facts = machine_facts(None, 0)
    profiles: dict[str, tuple[Profile, float]] = {}
    table, records = Table(["row", "figure", "unit", "counted", "printed", "gap"], 3), list[Record]()
    with Progress(len(rows)) as progress:
        for row in rows:
            progress.at(row.path)
            shape = repr((row.network, row.arguments, row.segmentation, row.num_classes, row.image_size))
            if shape not in profiles:
                began = time.perf_counter()
                profiles[shape] = profile_of(row), time.perf_counter() - began
            counts, seconds = profiles[shape]
            found: dict[str, Record] = {}
            for each in printing(row):
                for figure in each.measured_by("count"):
                    value = counted(figure, counts)
                    gap = f"{value / float(figure.value) - 1:+.2%}" if figure.value else ""
                    table.rows.append([each.path, figure.metric, figure.unit, f"{value:.8g}", figure.value, gap])
                    text = f"{value:.12g}"  # whole numbers of operations, without the error of their division
                    kept = record(row, "count", figure.metric, text, figure.unit, seconds=seconds, facts=facts)
                    found[figure.metric] = kept
            records += found.values()
    append(records, results)
    print(table)
