"""One training run as it is compared: settings, figures and curves, wherever it was read from."""

import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_modules.tasks import TASKS, USUAL, Task

SPEED = "train/images_per_second"
"""The metric of the column images/s."""

SILENT = 1800.0
"""Seconds without a line after which a run counts as stopped, or ten of its epochs if they take longer."""

_COUNTERS = ("epoch", "step", "trainer/global_step")


@dataclass(frozen=True)
class Run:
    """One training run.

    Args:
        name: ``NAME/version_N``.
        settings: Settings by dotted key, such as ``optimizer.lr``; what is None or empty is left out.
        curves: Values of each metric by epoch, counted from 1.
        figures: The last value of each metric.
        state: ``finished``, ``running`` or ``stopped``.
        key: W&B's identifier; empty for others.
    """

    name: str
    settings: Mapping[str, Any]
    curves: Mapping[str, Mapping[int, float]]
    figures: Mapping[str, float]
    state: str
    key: str = ""

    @property
    def seed(self) -> str:
        """The seed as text."""
        return str(self.settings.get("seed_everything", "-"))

    @property
    def own_name(self) -> str:
        """The name that it was given, without ``version_N``."""
        return re.sub(r"(?<=.)/version_\d+$", "", self.name)

    @property
    def task(self) -> Task:
        """What it is trained for."""
        return TASKS.get(str(self.settings.get("task")), TASKS[USUAL])

    @property
    def watched(self) -> str:
        """The metric of the columns best and last epoch."""
        return f"val/{self.task.watched}"

    @property
    def epochs(self) -> int:
        """Epochs that are behind it."""
        return max((max(self.curves[name]) for name in ("train/loss", self.watched) if name in self.curves), default=0)

    @property
    def progress(self) -> str:
        """``running, epoch 3/10``; empty for a finished run."""
        if self.state == "finished":
            return ""
        planned = self.settings.get("trainer.max_epochs")
        return f"{self.state}, epoch {self.epochs}" + (f"/{planned}" if planned else "")

    def continued_by(self, later: "Run") -> "Run":
        """Return the run that goes on from this one, with the epochs before it."""
        first = min((min(curve) for curve in later.curves.values()), default=math.inf)
        curves = {name: {e: v for e, v in curve.items() if e < first} for name, curve in self.curves.items()}
        joined = {name: {**curves.get(name, {}), **later.curves.get(name, {})} for name in {**curves, **later.curves}}
        return replace(
            later,
            curves={name: curve for name, curve in joined.items() if curve},
            figures={**self.figures, **later.figures},
        )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted key, without those that are None or empty.

    A callback without arguments is kept, as True.

    Example:
        >>> flat({"optimizer": {"lr": 0.1, "kwargs": {}}, "dynamic": None, "trainer": {"callbacks": {"Own": {}}}})
        {'optimizer.lr': 0.1, 'trainer.callbacks.Own': True}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{key}."))
        elif value == {} and prefix == "trainer.callbacks.":
            found[key] = True
        elif value is not None and value != {} and value != []:
            found[key] = value
    return found


def number(value: Any) -> float | None:
    """Return a logged value as a float; None for what is no number, such as an image."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def tidy(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """Return the curves and the last figures of what was logged.

    Args:
        rows: What was logged together, with the epoch, counted from 0, where there is one.
    """
    curves: dict[str, dict[int, float]] = {}
    figures: dict[str, float] = {}
    for row in rows:
        epoch = number(row.get("epoch"))
        for name, logged in row.items():
            value = None if name in _COUNTERS or name.startswith("_") else number(logged)
            if value is None:
                continue
            figures[name] = value
            if epoch is not None and math.isfinite(epoch) and not name.startswith("test"):
                curves.setdefault(name, {})[int(epoch) + 1] = value
    return curves, figures


def state_by_age(folder: Path, curves: Mapping[str, Mapping[int, float]]) -> str:
    """Return ``running`` if the files of a run, which is not finished, changed lately, and ``stopped`` if not."""
    changed = sorted(_changes(folder)) or [0.0]
    epochs = max((max(curve) for curve in curves.values()), default=1)
    silent = max(SILENT, 10 * (changed[-1] - changed[0]) / epochs)
    return "running" if time.time() - changed[-1] < silent else "stopped"


def _changes(folder: Path) -> Iterator[float]:
    """Yield when each file was changed; one that a running training removes meanwhile is left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.stat(os.path.join(place, name)).st_mtime
