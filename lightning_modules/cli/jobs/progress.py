"""How several trainings go: one line for each that runs, and the time that is left."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lightning_modules.cli.jobs.training import Training, epochs_in
from lightning_modules.tasks import WATCHED, watched_in


class Watch:
    """Follows a training by the ``metrics.csv`` that it writes.

    Args:
        training: The training, whose process has just been started.
        goes_on: It goes on from a checkpoint.
    """

    def __init__(self, training: Training, goes_on: bool = False):
        self.training, self.epochs, self.goes_on = training, training.epochs, goes_on
        self.before = len(training.versions())
        self.first = self.epoch = max(training.logged(), default=0) if training.resume else 0
        self.figures: dict[str, float] = {}
        self.began = self.changed = time.monotonic()
        self.timed_from: tuple[int, float] | None = None
        self._seen: float | None = None

    def look(self) -> bool:
        """Read what is new; tell whether an epoch has ended."""
        for folder in self.training.versions()[self.before :][-1:]:
            path = folder / "metrics.csv"
            written = path.stat().st_mtime if path.exists() else None
            if written is None or written == self._seen:
                return False
            self._seen, found = written, epochs_in(path)
            if found and max(found) > self.epoch:
                self.epoch, self.changed = max(found), time.monotonic()
                self.figures = found[self.epoch]
                self.timed_from = self.timed_from or (self.epoch, self.changed)
                return True
        return False

    @property
    def seconds_per_epoch(self) -> float | None:
        """Time of an epoch; None before the first one has ended, in whose time that of starting is included."""
        first, began = self.timed_from or (self.epoch, self.changed)
        if first == self.epoch:
            first, began = self.first, self.began
        done = self.epoch - first
        return (self.changed - began) / done if done > 0 else None

    def seconds_left(self, per_epoch: float | None = None) -> float | None:
        """Return the time to the end, from its own epochs or those of others."""
        per_epoch = self.seconds_per_epoch or per_epoch
        if per_epoch is None:
            return None
        return max(0.0, per_epoch * (self.epochs - self.epoch) - (time.monotonic() - self.changed))

    def line(self) -> str:
        """Return where it is, in words."""
        parts = [f"epoch {self.epoch}/{self.epochs}"]
        if (watched := watched_in(self.figures, "val/")) is not None:
            parts.append(f"val {WATCHED[watched]} {self.figures[f'val/{watched}']:.2%}")
        if "train/images_per_second" in self.figures:
            parts.append(f"{self.figures['train/images_per_second']:,.0f} images/s")
        left = self.seconds_left()
        if left is not None and self.epoch < self.epochs:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def progress(self) -> str:
        """Return how far it has come, in words."""
        self.look()
        return f"{self.epoch} of {self.epochs} epochs done"

    def result(self) -> str:
        """Return how it ended, in words."""
        figures = self.training.test_figures()
        took = f"in {duration(time.monotonic() - self.began)}"
        watched = watched_in(figures, "test/")
        return took if watched is None else f"test {WATCHED[watched]} {figures[f'test/{watched}']:.2%} {took}"


class Lines:
    """Shows how trainings go: lines that change on a terminal, elsewhere one more line whenever an epoch has ended."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.live: Live | None = None
        self.total = self.done = 0
        self.jobs = 1
        self.speeds: list[float] = []

    def begin(self, trainings: Sequence[Training], jobs: int) -> None:
        """Start to show them."""
        self.total, self.jobs = len(trainings), jobs
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def started(self, watch: Watch) -> None:
        """Tell that a training has begun."""
        inside = ", from a checkpoint in its first epoch" if watch.goes_on else ""
        goes_on = f", from epoch {watch.first} of {watch.epochs}" if watch.first else inside
        self.say(f"{watch.training.label}: started{goes_on}")

    def update(self, watches: Sequence[Watch], waiting: Sequence[Training]) -> None:
        """Show where those are that run."""
        for watch in watches:
            if watch.look() and self.live is None:
                left = self._left(watches, waiting)
                self.say(f"{watch.training.label}: {watch.line()}" + (f"; all: {left}" if left else ""))
        if self.live is not None:
            lines = [Text(f"{watch.training.label}: {watch.line()}", overflow="ellipsis") for watch in watches]
            left = self._left(watches, waiting)
            summary = f"{self.done} of {self.total} done, {len(watches)} running" + (f", {left}" if left else "")
            self.live.update(Group(*lines, Text(summary, style="bold")), refresh=True)

    def ended(self, training: Training, kind: str, message: str) -> None:
        """Tell how a training ended."""
        self.done += 1
        self.say(f"{training.label}: {kind}" + (f": {message}" if message else ""))

    def say(self, text: str) -> None:
        """Print a line above those that change."""
        if self.live is not None:
            self.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Show nothing more."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _left(self, watches: Sequence[Watch], waiting: Sequence[Training]) -> str:
        """Return the time until all have ended, or nothing before an epoch was timed."""
        known = [watch.seconds_per_epoch for watch in watches if watch.seconds_per_epoch]
        self.speeds = known or self.speeds
        if not self.speeds:
            return ""
        usual = sum(self.speeds) / len(self.speeds)
        running = [watch.seconds_left(usual) or 0.0 for watch in watches]
        behind = sum(usual * training.epochs for training in waiting)
        longest = max(running, default=0.0)
        return f"about {duration(max(longest, (sum(running) + behind) / self.jobs))} left"


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(42), duration(150), duration(7500), duration(200_000)
        ('42 s', '2.5 min', '2.1 h', '2.3 days')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
