"""Runs read back from W&B's server."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import Any

from experiments.compare.run import Run, flat, tidy
from ops import ArgumentError, unknown_name

STATES = {"finished": "finished", "running": "running", "pending": "running"}
"""Our word for W&B's states; all others are ``stopped``."""


def read_project(
    path: str, group: str | None = None, patterns: Sequence[str] = (), api: Any = None
) -> tuple[list[Run], list[str]]:
    """Return the runs of a project, and a line for each run that cannot be read.

    Args:
        path: ``ENTITY/PROJECT``.
        group: Only the runs of this group.
        patterns: Only runs whose name is one of these, or matches one.
        api: A ``wandb.Api``; made here by default.

    Raises:
        ArgumentError: Nobody is logged in, the server cannot be reached, or there are no such runs.
    """
    with server(path):
        api = api or connect()
        found = list(api.runs(path, filters={"group": group} if group else {}, lazy=False))
        names = [each.name or each.id for each in found]
        chosen = [run for run, name in zip(found, names) if not patterns or any(_matches(name, p) for p in patterns)]
    if not chosen and patterns:
        known = sorted({re.sub(r"/version_\d+$", "", name) for name in names})
        raise unknown_name("RUN", patterns[0], known, listing=f"a run of {path}")
    if not chosen:
        raise ArgumentError("--wandb", sentence=f"{path} has no runs" + (f" of the group {group!r}" if group else ""))
    runs: list[Run] = []
    problems: list[str] = []
    for each in chosen:
        try:
            with server(f"{path}/{each.id}"):
                runs.append(_run(each))
        except ArgumentError as error:
            problems.append(str(error))
    return runs, problems


def connect() -> Any:
    """Return W&B's interface to its server, without asking for a key.

    Raises:
        ArgumentError: Nobody is logged in.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # the table comes alone
    import wandb

    from lightning_modules.loggers import logged_in_to_wandb

    if not logged_in_to_wandb():
        sentence = "needs W&B's key: run `wandb login` or set WANDB_API_KEY, without WANDB_MODE=offline"
        raise ArgumentError("--wandb", sentence=sentence)
    return wandb.Api(timeout=30)


@contextmanager
def server(path: str) -> Iterator[None]:
    """Turn what W&B raises about its server into an ArgumentError."""
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        yield
    except ArgumentError:
        raise
    except (wandb.Error, WandbApiFailedError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        sentence = f"{path} cannot be read ({reason}); check name, key and network, or compare the folders of runs"
        raise ArgumentError("--wandb", sentence=sentence) from error


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}/") or fnmatch(name, pattern)


def _run(run: Any) -> Run:
    curves, figures = tidy(run.scan_history())
    summary = {name: value for name, value in run.summary_metrics.items() if isinstance(value, int | float)}
    config = {name: value for name, value in run.config.items() if name != "_wandb"}
    _, last = tidy([summary])
    return Run(run.name or run.id, flat(config), curves, {**last, **figures}, STATES.get(run.state, "stopped"), run.id)
