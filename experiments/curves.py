"""Learning curves of what was trained: a row for each epoch, in ``experiments/results/papers/curves/PAPER.csv``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments import kept_rows
from lightning_modules.tasks import watched_in

FOLDER = "curves"
"""Their folder, inside that of the records."""

WATCHED_COLUMN = "val_top1"
"""The column of the accuracy; of segmentation, of the mIoU. It keeps the name that older files have."""

METRICS = {
    "train_loss": "train/loss",
    WATCHED_COLUMN: "val/top1",
    "temperature": "attention/temperature",
    "entropy": "attention/entropy",
    "images_per_second": "train/images_per_second",
}
"""What a run calls each column; see :func:`metrics_of`."""


def metrics_of(watched: str) -> dict[str, str]:
    """Return what a run that watches ``top1`` or ``miou`` calls each column."""
    return {**METRICS, WATCHED_COLUMN: f"val/{watched}"}


@dataclass(frozen=True)
class Epoch:
    """One epoch of one training; what is not known is empty.

    Args:
        row: ``TABLE/ROW``.
        seed: Seed of the training.
        protocol: ``full`` or ``quick``.
        epoch: Counted from 1.
        train_loss: Mean loss of the epoch.
        val_top1: Accuracy on validation after it, as a share; of segmentation, the mIoU.
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
    metrics = metrics_of(watched_in(curves, "val/") or "top1")
    known = sorted({epoch for metric in metrics.values() for epoch in curves.get(metric, ())})
    values = [
        {column: curves.get(metric, {}).get(epoch) for column, metric in metrics.items()} for epoch in known
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
        kept_rows.append(_path(paper, results), new, Epoch, ("epoch",))


def read(paper: str, results: Path) -> list[Epoch]:
    """Return the epochs of a paper's trainings; none where there is no file.

    Raises:
        ArgumentError: The file is damaged; names the file and the line.
    """
    path = _path(paper, results)
    return kept_rows.read(path, Epoch, ("epoch",)) if path.exists() else []


def _path(paper: str, results: Path) -> Path:
    return results / FOLDER / f"{paper}.csv"
