"""Progress on stderr: which comparison is running and how many are left."""

import sys
import time

from rich import progress
from rich.console import Console

from lightning_modules.cli.tables import Table

LINES_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""


class Progress:
    """Show the running comparison: as a bar on a terminal, elsewhere as a line every ten seconds.

    Args:
        total: Number of comparisons.
    """

    def __init__(self, total: int):
        self.total, self.done, self.spoken = total, 0, -LINES_EVERY
        self.console = Console(stderr=True, highlight=False, markup=False)
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=self.console,
            transient=True,
            auto_refresh=False,  # drawing from a second thread would be timed along
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.bar.add_task("", total=total)

    def at(self, label: object) -> None:
        """Show what runs now."""
        if self.console.is_terminal:
            self.bar.update(self.task, description=str(label), completed=self.done, refresh=True)
        elif time.monotonic() - self.spoken >= LINES_EVERY:
            self.spoken = time.monotonic()
            print(f"[{self.done + 1}/{self.total}] {label}", file=sys.stderr, flush=True)
        self.done += 1

    def show(self, *tables: Table) -> None:
        """Print tables while the bar is out of their way."""
        self.__exit__()
        for table in tables:
            print(table, end="\n\n")
        self.__enter__()

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()
