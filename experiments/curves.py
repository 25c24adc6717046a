"""Learning curves of what was trained: a row for each epoch, in ``experiments/results/papers/curves/PAPER.csv``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments import kept_rows
from experiments.papers import find
from ops import ArgumentError

FOLDER = "curves"
"""Their folder, inside that of the records."""

METRICS = {
    "train_loss": "train/loss",
    "val_top1": "val/top1",
    "val_miou": "val/miou",
    "temperature": "attention/temperature",
    "entropy": "attention/entropy",
    "images_per_second": "train/images_per_second",
}
"""What a run calls each column."""

BEFORE_MIOU = ("row", "seed", "protocol", "epoch", "train_loss", "val_top1", "temperature", "entropy")
BEFORE_MIOU += ("images_per_second",)
"""The columns of older files, which have the mIoU of segmentation in ``val_top1``."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of one training; what is not known is empty.

    Args:
        row: ``TABLE/ROW``.
        seed: Seed of the training.
        protocol: ``full`` or ``quick``.
        epoch: Counted from 1.
        train_loss: Mean loss of the epoch.
        val_top1: Accuracy on validation after it, as a share.
        val_miou: Mean IoU on validation after it, as a share; of segmentation.
        temperature: Of the attention's softmax, the mean over the layers.
        entropy: Of the attention; 1 is uniform.
        images_per_second: Speed of training.
    """

    row: str
    seed: str
    protocol: str
    epoch: str
    train_loss: str = ""
    val_top1: str = ""
    val_miou: str = ""
    temperature: str = ""
    entropy: str = ""
    images_per_second: str = ""

    @property
    def run(self) -> tuple[str, str, str]:
        """What tells its training from the others of its paper."""
        return self.row, self.protocol, self.seed


def epochs_of(row: str, seed: str, protocol: str, curves: Mapping[str, Mapping[int, float]]) -> list[Epoch]:
    """Return the epochs of a training.

    Args:
        row: ``TABLE/ROW``.
        seed: Its seed.
        protocol: Its protocol.
        curves: Values by metric and epoch, as those of ``experiments.compare.run.Run``.
    """
    known = sorted({epoch for metric in METRICS.values() for epoch in curves.get(metric, ())})
    values = [
        {column: curves.get(metric, {}).get(epoch) for column, metric in METRICS.items()} for epoch in known
    ]  # fmt: skip
    texts = [{column: f"{value:.5g}" for column, value in each.items() if value is not None} for each in values]
    return [Epoch(row, seed, protocol, str(epoch), **each) for epoch, each in zip(known, texts)]


def append(paper: str, epochs: Iterable[Epoch], results: Path) -> None:
    """Add the epochs of trainings to a paper's file, beside its records; a training that is there is left out.

    Raises:
        ArgumentError: The file cannot be written, or is damaged.
    """
    there = {each.run for each in read(paper, results)}
    new = [each for each in epochs if each.run not in there]
    if new:
        kept_rows.append(_path(paper, results), new, Epoch, ("epoch",), _older(paper))


def read(paper: str, results: Path) -> list[Epoch]:
    """Return the epochs of a paper's trainings; none where there is no file.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    path = _path(paper, results)
    return kept_rows.read(path, Epoch, ("epoch",), _older(paper)) if path.exists() else []


def _older(paper: str) -> kept_rows.Older:
    return {BEFORE_MIOU: partial(_with_miou, paper)}


def _with_miou(paper: str, cells: Mapping[str, str]) -> dict[str, str]:
    """Return a row of an older file with the mIoU in its own column, where its network segments."""
    path = f"{paper}/{cells['row']}"
    try:
        rows = [row for row in find(path) if row.path == path]
    except ArgumentError:  # a row that is no longer known
        rows = []
    segments = any(figure.kind.key == "miou" for row in rows for figure in row.figures.values())
    return {**cells, **({"val_top1": "", "val_miou": cells["val_top1"]} if segments else {"val_miou": ""})}


def _path(paper: str, results: Path) -> Path:
    return results / FOLDER / f"{paper}.csv"
