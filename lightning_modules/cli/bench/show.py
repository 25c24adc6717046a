"""What the terminal shows: progress on stderr, tables on stdout, as they are or as Markdown."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

LINES_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""


@dataclass
class Table:
    """A table of text; ``left`` columns are labels, a row of None is a line between groups."""

    columns: Sequence[str]
    left: int
    rows: list[Sequence[str] | None] = field(default_factory=list)
    title: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---"] * self.left + ["---:"] * (len(self.columns) - self.left)
        rows = [self.columns, rule, *(row for row in self.rows if row is not None)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)

    def show(self) -> None:
        """Print the table, as wide as it needs where there is no terminal."""
        table = RichTable(title=self.title or None, title_justify="left", title_style="bold")
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="left" if index < self.left else "right", overflow="fold")
        above: Sequence[str] = ()
        for row in self.rows:
            if row is None:
                table.add_section()
            else:  # labels that all rows of a group share are said once
                shared = row[: self.left - 1] == above[: self.left - 1]
                table.add_row(*([""] * (self.left - 1) if shared else row[: self.left - 1]), *row[self.left - 1 :])
            above = row or ()
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console.width = 200
        console.print(table)


def facts_line(facts: dict[str, str]) -> str:
    """Return the facts of the machine in one line."""
    return ", ".join(f"{key} {value}" for key, value in facts.items() if key != "command")


def conclude(options: argparse.Namespace, facts: dict[str, str], table: Table, notes: str) -> None:
    """Print what the figures mean and where the files are; with ``--markdown`` the table, and above it all it needs."""
    if options.markdown:
        print(f"`{facts['command']}`\n\n{facts_line(facts)}. {notes}\n\n{table.markdown()}")
        return
    print(notes)
    for label, path in (("every timing", options.csv), ("picture", options.plot)):
        if path is not None:
            print(f"{label}: {path}")


class Where:
    """Says on stderr which comparison is running and how many are left: a bar on a terminal, else a line at times."""

    def __init__(self, total: int):
        self.total, self.done, self.spoken = total, 0, -LINES_EVERY
        self.console = Console(stderr=True, highlight=False, markup=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            auto_refresh=False,  # drawing from a second thread would be timed along
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.bar.add_task("", total=total)

    def at(self, label: object) -> None:
        """Say what runs now."""
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
            table.show()
        self.__enter__()

    def __enter__(self) -> "Where":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()
