"""What a finished training measured, as records."""

import shlex
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from experiments import curves, kept_pictures
from experiments.compare.folders import read
from experiments.compare.run import Run
from experiments.papers.units import measured_value
from experiments.records import Record, append, read_all
from experiments.run.plan import Item, is_kept
from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.training import Training
from ops import ArgumentError

SIZES = {"parameters": "count", "macs": "MACs"}
"""What is kept about the network that was trained, which the quick protocol may have changed, and its unit."""


def keep(item: Item, results: Path) -> list[Record]:
    """Add the figures of a finished training to the records, its curves and its pictures; return the new records.

    Raises:
        ArgumentError: It has no test figures, or the records cannot be written.
    """
    if is_kept(read_all(results), item.row, item.protocol, item.seed, item.figures):
        return []
    found = records_of(item)
    run = _run(item.training)
    if run is not None:
        paper, _, row = item.row.path.partition("/")
        curves.append(paper, curves.epochs_of(row, str(item.seed), item.protocol, run.curves), results)
    append(found, results)
    for folder in item.training.versions()[-1:]:  # the last part of an interrupted run was tested
        kept_pictures.keep(folder, item.row.path, item.protocol, results)
    return found


def records_of(item: Item) -> list[Record]:
    """Return the figures of a finished training as records, and the size of its network.

    Raises:
        ArgumentError: It has no test figures.
    """
    training, tested = item.training, item.training.test_figures()
    missing = [figure.metric for figure in item.figures if f"test/{figure.kind.key}" not in tested]
    if missing:
        raise ArgumentError(
            "runs", f"{training.folder} without {', '.join(missing)} in its test figures", "a whole run"
        )
    speeds = [epoch["train/images_per_second"] for epoch in logged(training) if "train/images_per_second" in epoch]
    parts = history.read(training)["parts"]
    paper, _, row = item.row.path.partition("/")
    command = ["dyc", "run", item.row.path, "--protocol", item.protocol, "--seeds", str(item.seed)]
    common = {
        "paper": paper,
        "row": row,
        "seed": str(item.seed),
        "epochs": str(max(training.logged(), default=training.epochs)),
        "protocol": item.protocol,
        "images_per_second": f"{statistics.median(speeds):.4g}" if speeds else "",
        "wall_seconds": f"{history.seconds(training):.0f}" if parts else "",
        **{name: _all(parts, name) for name in ("hardware", "versions", "commit")},
        "date": date.today().isoformat(),
        "command": shlex.join(command),
    }
    figures = [
        Record(
            metric=figure.metric,
            value=f"{measured_value(figure, tested[f'test/{figure.kind.key}']):.6g}",
            unit=figure.unit,
            **common,
        )
        for figure in item.figures
    ]
    run = _run(training)
    settings = {} if run is None else run.settings
    sizes = {name: settings[name] for name in SIZES if name in settings}
    return figures + [
        Record(metric=name, value=str(size), unit=SIZES[name], **common) for name, size in sizes.items()
    ]  # fmt: skip


def _run(training: Training) -> Run | None:
    """Return a training with the epochs of all its parts that can be read."""
    whole = None
    for folder in training.versions():
        try:
            part = read(folder)
        except ArgumentError:  # a part that was stopped before it wrote its settings
            continue
        whole = part if whole is None else whole.continued_by(part)
    return whole


def logged(training: Training) -> list[dict[str, float]]:
    """Return the figures of each epoch of a training."""
    return list(training.logged().values())


def _all(parts: Sequence[dict], name: str) -> str:
    """Return a fact of every part of a training, once if it is the same."""
    return " + ".join(dict.fromkeys(part[name] for part in parts))
