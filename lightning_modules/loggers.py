"""The loggers of a run: CSV always, W&B offline unless logged in, and never a prompt."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_modules.csv_log import WholeCSVLogger
from lightning_modules.wandb_logger import RunWandbLogger, say
from lightning_modules.wandb_names import (
    LONGEST_NAME,
    LONGEST_TAG,
    check_project,
    experiment_of,
    shortened,
    shortened_tags,
)

WandbMode = Literal["auto", "online", "offline", "disabled"]


class RunLoggers(DummyLogger):
    """Stands for the loggers that every run has: CSV, and W&B unless it is disabled.

    It is the default of ``trainer.logger``, so that ``--trainer.logger+=X`` adds to them and ``--trainer.logger=X``
    replaces them. It logs nothing itself.
    """


def with_run_loggers(loggers: Logger | Iterable[Logger], build: Callable[[], list[Logger]]) -> list[Logger]:
    """Return loggers with those that ``build`` makes in the place of every :class:`RunLoggers`."""
    given = [loggers] if isinstance(loggers, Logger) else loggers
    return [each for logger in given for each in (build() if isinstance(logger, RunLoggers) else [logger])]


def has_wandb_key() -> bool:
    """Tell whether W&B has credentials (environment or netrc), without asking for any or using the network."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.Error, ValueError):  # credentials that W&B itself refuses, such as a key of the wrong length
        return False


def logged_in_to_wandb() -> bool:
    """Tell whether W&B has credentials and was not told to stay offline."""
    return os.environ.get("WANDB_MODE") not in ("offline", "dryrun", "disabled") and has_wandb_key()


def finish_wandb(status: int) -> None:
    """End W&B's run, if there is one: the next training in this process would go on with it.

    Args:
        status: 0, or what tells W&B that the training failed.
    """
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        try:
            wandb.finish(exit_code=status)
        except Exception as error:  # what W&B raises has no common type
            say(f"W&B's run was not finished ({error or type(error).__name__})")
            with suppress(Exception):  # of the same service, which may be gone
                wandb.teardown()


def build_loggers(
    folder: Path,
    name: str,
    wandb_mode: WandbMode,
    project: str,
    tags: Sequence[str],
    group: str | None = None,
    continued: Mapping[str, Any] | None = None,
) -> list[Logger]:
    """Return the loggers of a run; the first one's folder is the run's.

    Args:
        folder: The run's folder, ``RUNS/NAME/version_N``.
        name: Name of the run.
        wandb_mode: ``auto`` is online when logged in and offline otherwise.
        project: W&B's project.
        tags: W&B's tags. Those over 64 characters, and names and groups over 128, are shortened, and a line says so.
        group: W&B's group; by default the experiment's name, which is the run's without the folder of its seed.
        continued: What :meth:`RunWandbLogger.state` said of the W&B run to go on with.

    Raises:
        ArgumentError: W&B would refuse the project.
    """
    loggers: list[Logger] = [WholeCSVLogger(folder.parent, "", folder.name, flush_logs_every_n_steps=50)]
    if wandb_mode == "disabled":
        return loggers
    os.environ.setdefault("WANDB_SILENT", "true")  # the summary at the end says what W&B would
    offline = wandb_mode == "offline" or (wandb_mode == "auto" and not logged_in_to_wandb())
    if not offline and not has_wandb_key():
        say("W&B has no API key, which `wandb login` would set; this run is logged offline")
        offline = True
    full = [continued["name"] if continued else f"{name}/{folder.name}", group or experiment_of(name)]
    names = [shortened(text, LONGEST_NAME) for text in full]
    _say_shortened([text for text, own in zip(full, names) if own != text], [t for t in tags if len(t) > LONGEST_TAG])
    options = {"name": names[0], "group": names[1], "project": check_project(project), "tags": shortened_tags(tags)}
    mode = "offline" if offline else "online"
    return [*loggers, RunWandbLogger(folder, mode, continued, job_type="train", **options)]


def _say_shortened(names: Iterable[str], tags: Iterable[str]) -> None:
    cut = list(dict.fromkeys([*names, *tags]))
    if cut:
        limits = f"names over {LONGEST_NAME} characters and tags over {LONGEST_TAG}"
        say(f"W&B takes no {limits}; shortened for it: {', '.join(map(repr, cut))}")
