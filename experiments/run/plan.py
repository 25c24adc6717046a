"""What ``dyc run`` would do for the rows that it is asked for: what is done, and what is left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.papers.catalog import Figure, Row, find, papers, table_of
from experiments.records import Record
from experiments.run.settings import changed_since
from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.training import State, Training

TRAINED = ("top1_accuracy", "top1", "top1_error", "error", "top5")
"""Printed figures that a training measures; the others are counted or timed."""


@dataclass(frozen=True)
class Item:
    """One thing to measure: a training with one seed, or what is counted or timed of a row.

    Args:
        row: The row under whose path the figures are kept.
        how: ``train``, ``count``, ``latency`` or ``none``.
        protocol: As in the records.
        figures: What is measured.
        status: ``done``, ``running``, ``not recorded``, ``not tested``, ``interrupted``, ``new``, ``none`` or
            ``other settings``.
        seed: Of a training.
        training: The training.
        state: How far it is.
        reason: Why nothing is run.
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
    asked = [row for path in paths for row in find(path)]
    measured = [row if row.same_as is None else find(row.same_as)[0] for row in asked]
    return list({row.path: row for row in measured}.values())


def figures_of(row: Row) -> dict[str, Figure]:
    """Return the printed figures of a row and of those that share its runs, by metric."""
    paper = papers()[row.path.partition("/")[0]]
    found: dict[str, Figure] = dict(row.figures)
    for table in paper.tables.values():
        for other in table.rows.values():
            if other.same_as == row.path and table.how == table_of(row).how:
                found = {**other.figures, **found}
    return found


def way_of(row: Row) -> tuple[str, str]:
    """Return how a row is measured, and why it is not if it is not."""
    table = table_of(row)
    if table.how == "none":
        return "none", table.reason
    if row.network is None:
        return "none", row.note or "its network is not part of this package"
    return table.how, ""


def items_of(row: Row, protocol: str, trainings: Iterable[tuple[int, Training]], kept: Sequence[Record]) -> list[Item]:
    """Return what there is to measure of a row.

    Args:
        row: The row.
        protocol: Of its trainings.
        trainings: They, with their seeds; used only for rows that are trained.
        kept: The records.
    """
    how, reason = way_of(row)
    figures = figures_of(row)
    if how == "none":
        return [Item(row, how, "", tuple(figures.values()), "none", reason=reason)]
    trained = tuple(each for each in figures.values() if each.metric in TRAINED) if how == "train" else ()
    others = tuple(each for each in figures.values() if each not in trained)
    found = [_training(row, protocol, trained, *each, kept) for each in trainings] if trained else []
    if others:
        way = "latency" if how == "latency" else "count"
        done = is_kept(kept, row, way, None, others)
        found.append(Item(row, way, way, others, "done" if done else "new"))
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
    state = training.state()
    changed = changed_since(training)
    if state.kind != "new" and changed:
        return item("other settings", state, f"{training.folder} was trained with {changed}; move it away")
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
