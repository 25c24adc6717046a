"""What ``dyc run`` would do for the rows that it is asked for: what is done, and what is left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.papers import catalog
from experiments.papers.entries import Figure, Row
from experiments.records import Record
from experiments.run.settings import changed_since
from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.training import State, Training
from ops import ArgumentError

TO_TRAIN = ("new", "interrupted", "not tested")
"""The states of trainings that are run."""


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to measure: a training with one seed, or what is counted or timed of a row.

    Args:
        row: The row under whose path the figures are kept.
        how: ``train``, ``count``, ``latency``; or ``none``, also for what follows from other rows.
        protocol: As in the records.
        figures: What is measured.
        status: ``done``, ``running``, ``not recorded``, ``not tested``, ``interrupted``, ``new``, ``none`` or
            ``refused``, where a run that was begun cannot go on.
        seed: Of a training.
        training: The training.
        state: How far it is.
        reason: Why nothing is run, or why it is refused.
    """

    row: Row
    how: str
    protocol: str
    figures: tuple[Figure, ...]
    status: str
    seed: int | None = None
    training: Training | None = None
    state: State | None = None
    reason: str = ""


def rows_of(paths: Sequence[str]) -> list[Row]:
    """Return the rows that paths ask for, each once; a row that shares another's runs is replaced by that one.

    Raises:
        ArgumentError: There is no such paper, table or row.
    """
    asked = [row for path in paths for row in catalog.find(path)]
    return list({row.measured_as: catalog.find(row.measured_as)[0] for row in asked}.values())


def figures_of(row: Row) -> dict[str, Figure]:
    """Return the printed figures of a row and of those that share its runs, by metric."""
    paper = catalog.papers()[row.path.partition("/")[0]]
    rows = [each for table in paper.tables.values() for each in table.rows.values() if each.measured_as == row.path]
    return {metric: figure for each in [*rows, row] for metric, figure in each.figures.items()}


def ways_of(row: Row) -> dict[str, list[Figure]]:
    """Return the figures of a row by how they are measured; what follows from other rows is not measured."""
    found: dict[str, list[Figure]] = {}
    for figure in figures_of(row).values():
        found.setdefault("none" if figure.how == "follows" else figure.how, []).append(figure)
    return found


def items_of(row: Row, protocol: str, trainings: Iterable[tuple[int, Training]], kept: Sequence[Record]) -> list[Item]:
    """Return what there is to measure of a row.

    Args:
        row: The row.
        protocol: Of its trainings.
        trainings: They, with their seeds; used only for rows that are trained.
        kept: The records.
    """
    found = []
    for how, figures in ways_of(row).items():
        if how == "train":
            found += [_training(row, protocol, tuple(figures), *each, kept) for each in trainings]
            continue
        status = "none" if how == "none" else "done" if is_kept(kept, row, how, None, figures) else "new"
        reasons = dict.fromkeys(figure.reason or "follows from other rows" for figure in figures)
        reason = "; ".join(reasons) if how == "none" else ""
        found.append(Item(row, how, how, tuple(figures), status, reason=reason))
    return found


def _training(
    row: Row, protocol: str, figures: tuple[Figure, ...], seed: int, training: Training, kept: Sequence[Record]
) -> Item:
    def item(status: str, state: State | None = None, reason: str = "") -> Item:
        return Item(row, "train", protocol, figures, status, seed, training, state, reason)

    if is_kept(kept, row, protocol, seed, figures):
        return item("done")
    if history.is_locked(training):
        return item("running")
    try:
        state, changed = training.state(), changed_since(training)
    except ArgumentError as error:
        return item("refused", reason=str(error))
    if state.kind != "new" and changed:
        return item("refused", state, f"{training.folder} was trained with {changed}; move it away")
    names = {"finished": "not recorded", "untested": "not tested"}
    return item(names.get(state.kind, state.kind), state)


def is_kept(records: Iterable[Record], row: Row, protocol: str, seed: int | None, figures: Iterable[Figure]) -> bool:
    """Tell whether there is a record of every figure."""
    text = "" if seed is None else str(seed)
    there = {each.metric for each in records if (each.path, each.protocol, each.seed) == (row.path, protocol, text)}
    return {figure.metric for figure in figures} <= there


def training_name(row: Row, protocol: str, seed: int) -> str:
    """Return the name of a row's run: its folder below that of all runs."""
    return str(Path("papers", row.path, protocol, f"seed{seed}"))
