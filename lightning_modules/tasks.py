"""The tasks that networks are trained for: what the command line builds for each, and what it reports.

Nothing is imported here, so that the command line may look at it before anything slow is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """A task.

    Args:
        module: Name of the class in ``lightning_modules`` that trains a network.
        data: Name of the data module.
        figures: What is measured: its key after the split's name, and its title, the one first by which the best
            network is chosen.
        rebuilt: Arguments of the module that an evaluation takes from the checkpoint, beside those that all have.
    """

    module: str
    data: str
    figures: Mapping[str, str]
    rebuilt: tuple[str, ...] = ()

    @property
    def watched(self) -> str:
        """The figure by which the best network is chosen."""
        return next(iter(self.figures))


USUAL = "classification"

TASKS = {
    USUAL: Task("ImageClassifier", "ImageData", {"top1": "top-1", "top5": "top-5", "loss": "loss"}),
    "segmentation": Task(
        "SemanticSegmenter",
        "SegmentationData",
        {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "loss": "loss"},
        ("head", "output_stride", "auxiliary"),
    ),
}

SHARES = {key: title for task in TASKS.values() for key, title in task.figures.items() if key != "loss"}
"""What is measured as a share from 0 to 1."""

FIGURES = {**SHARES, "loss": "loss"}
"""Everything that is measured."""

EVALUATION = "evaluation"
"""How images were evaluated, a setting of models and a column of ``evaluations.csv``; tasks with one way have none."""

WATCHED = {task.watched: task.figures[task.watched] for task in TASKS.values()}
"""The figures by which the best networks are chosen, with their titles."""


def task_of_checkpoint(checkpoint: Mapping[str, Any]) -> str:
    """Return the task of a checkpoint; those of classification do not name it."""
    return checkpoint.get("hyper_parameters", {}).get("task", USUAL)


def watched_in(figures: Mapping[str, Any], prefix: str) -> str | None:
    """Return the watched figure's key, such as ``top1``, of which there is a value under ``PREFIXtop1``."""
    return next((name for name in WATCHED if f"{prefix}{name}" in figures), None)
