"""The loggers of a run: CSV always, W&B offline unless logged in, and never a prompt."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

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


def logged_in_to_wandb() -> bool:
    """Tell whether W&B has credentials (environment or netrc), without asking for any."""
    import wandb

    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        return False
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.Error, ValueError):  # credentials that W&B itself refuses, such as a key of the wrong length
        return False


def finish_wandb(status: int) -> None:
    """End W&B's run, if there is one: the next training in this process would go on with it.

    Args:
        status: 0, or what tells W&B that the training failed.
    """
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=status)


def build_loggers(folder: Path, name: str, wandb_mode: WandbMode, project: str, tags: list[str]) -> list[Logger]:
    """Return the loggers of a run; the first one's folder is the run's.

    Args:
        folder: The run's folder, ``RUNS/NAME/version_N``.
        name: Name of the run, W&B's group.
        wandb_mode: ``auto`` is online when logged in and offline otherwise.
        project: W&B's project.
        tags: W&B's tags.
    """
    loggers: list[Logger] = [CSVLogger(folder.parent, "", folder.name, flush_logs_every_n_steps=50)]
    if wandb_mode != "disabled":
        os.environ.setdefault("WANDB_SILENT", "true")  # the summary at the end says what W&B would
        offline = wandb_mode == "offline" or (wandb_mode == "auto" and not logged_in_to_wandb())
        # The mode is given twice: Lightning's flag sets an environment variable, which W&B may have read already.
        mode = "offline" if offline else "online"
        tags = [tag[:64] for tag in tags]  # W&B refuses longer ones, and a folder of images may have any name
        names = {"name": f"{name}/{folder.name}", "group": name, "project": project, "tags": tags}
        loggers.append(WandbLogger(save_dir=folder, offline=offline, mode=mode, **names))
    return loggers
