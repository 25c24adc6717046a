"""``--task``: what a network is trained for, which has to be known before the parser of all other options is made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_modules.cli.imports import take
from lightning_modules.runs import find_checkpoint, read_checkpoint
from lightning_modules.tasks import TASKS, USUAL, task_of_checkpoint
from ops import ArgumentError, unknown_name

HELP = "What the network is for; it decides about the options of model and data. A checkpoint says it by itself."


def task_of(argv: Sequence[str], configs: Sequence[dict[str, Any]]) -> str:
    """Return the task: that of the command line, else of the last configuration file that names one, else of the
    checkpoint, else classification.

    Args:
        argv: The command line.
        configs: Contents of its configuration files.

    Raises:
        ArgumentError: There is no such task.
    """
    options = {name: _last(argv, configs, name) for name in ("task", "ckpt_path", "runs", "name")}
    task = options["task"]
    if task is None and options["ckpt_path"]:
        place = Path(str(options["runs"] or "runs")), str(options["name"] or "run")
        try:
            # Of "auto" as of "last"; where there is none, what follows says so.
            kind = "last" if options["ckpt_path"] == "auto" else str(options["ckpt_path"])
            task = task_of_checkpoint(read_checkpoint(find_checkpoint(kind, *place)))
        except ArgumentError:
            return USUAL
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return task or USUAL


def _last(argv: Sequence[str], configs: Sequence[dict[str, Any]], name: str) -> Any:
    given, _ = take(argv, f"--{name}")
    written = [config[name] for config in configs if config.get(name) is not None]
    return [None, *written, *given][-1]
