"""What every ``dyc bench`` command says of a run beside its figures: its command, its machine, and what they mean."""

import argparse
import shlex
from collections.abc import Sequence

from dyc.benchmark import facts_line
from lightning_modules.cli.tables import Table


def command_line(argv: Sequence[str]) -> str:
    """Return the command as it would be typed."""
    return shlex.join(["dyc", "bench", *argv])


def conclude(options: argparse.Namespace, facts: dict[str, str], table: Table, notes: str) -> None:
    """Print what the figures mean and where the files are;
    with ``--markdown``, print the table below the command, the machine and the notes."""
    if options.markdown:
        print(f"`{facts['command']}`\n\n{facts_line(facts)}. {notes}\n\n{table.markdown()}")
        return
    print(notes)
    for label, path in (("every timing", options.csv), ("picture", options.plot)):
        if path is not None:
            print(f"{label}: {path}")
