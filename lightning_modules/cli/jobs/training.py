"""One training of several: where it is, how far it is, and the command that begins it or goes on with it."""

import csv
import io
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_modules.cli.imports import read_config
from lightning_modules.cli.jobs.settings import EPOCHS, setting, settings_of
from lightning_modules.runs import CHECKPOINTS, find_checkpoint, read_checkpoint
from lightning_modules.segmentation.settings import EvaluationSettings
from lightning_modules.tasks import EVALUATION, FIGURES, WATCHED, watched_in

TRAINED = ("train/loss", *(f"val/{key}" for key in WATCHED), "train/images_per_second")
"""Columns of ``metrics.csv`` that tell how a training goes; the first is written when an epoch has ended."""


@dataclass(frozen=True)
class State:
    """How far a training is.

    Args:
        kind: ``new``, ``interrupted``, ``untested`` (trained to its end, but not tested) or ``finished``.
        epoch: Epochs trained.
    """

    kind: Literal["new", "interrupted", "untested", "finished"]
    epoch: int = 0


@dataclass(frozen=True)
class Training:
    """A run of ``dyc fit`` in a process of its own.

    Args:
        name: The run's name, its folder below ``runs``.
        arguments: Of ``dyc fit``, without name, folder and checkpoint.
        runs: The folder of all runs.
        title: What it is called in messages; its name by default.
        resume: Go on from the checkpoint of a run of that name; otherwise it begins anew, beside that run.
    """

    name: str
    arguments: tuple[str, ...]
    runs: Path = Path("runs")
    title: str = ""
    resume: bool = True

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return self.title or self.name

    @property
    def folder(self) -> Path:
        """Its folder, which holds ``version_N`` for each part of a run that was interrupted."""
        return self.runs / self.name

    @property
    def log(self) -> Path:
        """The file of what its processes say."""
        return self.folder / "log.txt"

    @property
    def settings(self) -> dict[str, Any]:
        """What its arguments set."""
        return settings_of(self.arguments)

    @property
    def epochs(self) -> int:
        """Epochs that it trains."""
        return int(setting(self.settings, "trainer.max_epochs", EPOCHS))

    def state(self) -> State:
        """Return how far it is.

        Raises:
            ArgumentError: Its checkpoint is damaged.
        """
        epochs = self.epochs
        if self.test_figures():
            return State("finished", epochs)
        if not any(self.folder.glob(f"version_*/{CHECKPOINTS}/last*.ckpt")):
            return State("new")
        from lightning_modules.resume import epochs_behind  # with Lightning, which takes seconds

        done = epochs_behind(read_checkpoint(find_checkpoint("last", self.runs, self.name)))
        return State("untested" if done >= epochs else "interrupted", done)

    def command(self, kind: str) -> list[str]:
        """Return the command that brings it from a kind of state to its end."""
        words = [sys.executable, "-m", "lightning_modules.command", "test" if kind == "untested" else "fit"]
        words += [*self.arguments, f"--name={self.name}", f"--runs={self.runs}"]
        if not any(word.startswith("--trainer.enable_progress_bar") for word in words):
            words.append("--trainer.enable_progress_bar=false")  # the output goes to a file
        return words if kind in ("new", "finished") else [*words, "--ckpt_path=last"]

    def versions(self) -> list[Path]:
        """Return the folders of its parts, the newest last."""
        found = [path for path in self.folder.glob("version_*") if path.name.removeprefix("version_").isdigit()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("version_")))

    def test_figures(self) -> dict[str, float]:
        """Return the test figures of the last epoch, such as ``test/top1``; none where it has not come to its end.

        What ``dyc test`` found in another way than the training evaluates, by mirrored images, say, does not count.
        """
        for folder in reversed(self.versions()):
            if _epochs(folder) != self.epochs:
                continue
            for row in _rows(folder / "test.csv"):
                figures = _numbers(row, "test/")
                if row.get("network") == "last epoch" and watched_in(figures, "test/"):
                    return figures
            for row in reversed(_rows(folder / "evaluations.csv")):
                last = Path(row.get("checkpoint") or "").stem == "last" and row.get("epoch") == str(self.epochs)
                last = last and (not row.get(EVALUATION) or row[EVALUATION] == _evaluation(folder))
                figures = {f"test/{key}": value for key, value in _numbers(row, *FIGURES, "iou/").items()}
                if last and row.get("split") == "test" and watched_in(figures, "test/"):
                    return figures
        return {}

    def logged(self) -> dict[int, dict[str, float]]:
        """Return the figures of each finished epoch, counted from 1, by the names in ``metrics.csv``."""
        found: dict[int, dict[str, float]] = {}
        for folder in self.versions():
            found |= epochs_in(folder / "metrics.csv")
        return found


def epochs_in(path: Path) -> dict[int, dict[str, float]]:
    """Return the figures of each finished epoch of a ``metrics.csv``, which may be growing."""
    found: dict[int, dict[str, float]] = {}
    for row in _rows(path):
        if (row.get("epoch") or "").isdigit() and any(row.get(key) for key in TRAINED):
            found.setdefault(int(row["epoch"]) + 1, {}).update(_numbers(row, "train/", "val/"))
    return {epoch: figures for epoch, figures in found.items() if TRAINED[0] in figures}


def _epochs(folder: Path) -> int:
    return int(setting(read_config(folder / "config.yaml"), "trainer.max_epochs", -1))


def _evaluation(folder: Path) -> str:
    """Say how a training evaluates images, as its ``evaluations.csv`` does."""
    return str(EvaluationSettings(**(setting(read_config(folder / "config.yaml"), f"model.{EVALUATION}", None) or {})))


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the whole lines of a file; the last one may be half written."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1].replace("\0", ""), newline="")))


def _numbers(row: Mapping[str, str], *prefixes: str) -> dict[str, float]:
    """Return what is a number of the columns that begin so; a damaged cell is as one that is missing."""
    found = {}
    for key, value in row.items():
        if key and key.startswith(prefixes) and value:
            with suppress(ValueError):
                found[key] = float(value)
    return found
