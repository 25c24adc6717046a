"""The end of ``dyc fit``: test accuracy of the last and the best network, and where everything is."""

import csv
import os
import shlex
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from lightning_modules.cli.evaluations import CHOSEN_ON_TEST, check_finite, classes_table, results_table
from lightning_modules.cli.interruption import stop_if_told
from lightning_modules.cli.next_commands import next_commands
from lightning_modules.cli.saved_config import CONFIG
from lightning_modules.disk import naming
from lightning_modules.image_shape import image_shape

LAST, BEST = "last epoch", "best on validation"
KEYS = {LAST: "test/", BEST: "test_best/"}
"""How the figures of each network are named in the logs."""


def print_summary(cli: Any) -> None:
    """Test, print the table, and name the files and the next commands; ``cli`` is a finished ``DycCLI``."""
    trainer, data = cli.trainer, cli.datamodule
    paths = [Path(c.best_model_path) for c in trainer.checkpoint_callbacks if _wrote(c)]
    saved = {path.stem: os.path.relpath(path) for path in paths}
    results = {}
    if "best" in saved:
        results[BEST] = _test_best(cli, saved["best"])
    # Last, so that the network in memory afterwards is the one that training ended with.
    results[LAST] = _test(cli, saved.get("last"))
    for label, figures in results.items():
        check_finite(figures, f"the network ({label})", trainer)
    if not trainer.is_global_zero:
        return
    results = {label: results[label] for label in KEYS if label in results}
    logged = {label: f"{label} ({prefix}*)" for label, prefix in KEYS.items()} if trainer.loggers else {}
    shown = {logged.get(label, label): figures for label, figures in results.items()}
    print(f"\n{results_table(f'{cli.model.source.title} on {data.dataset_name}: test', shown)}\n")
    if (classes := classes_table(results)) is not None:
        print(f"{classes}\n")
    if data.validates_on_test:
        print(CHOSEN_ON_TEST)
    _write_results(cli.folder / "test.csv", results)
    for line in _files(cli, saved):
        print(line)
    config, size = cli.config["fit"], max(image_shape(data))
    print("try next:")
    for command in next_commands(config, cli.folder, cli.model.model_name, size, set(saved)):
        print(f"  {command}")


def print_interruption(cli: Any) -> None:
    """Say how far a training came that was stopped, and where everything is; ``cli`` is its ``DycCLI``."""
    trainer, progress = cli.trainer, cli.trainer.fit_loop.epoch_progress
    if not trainer.is_global_zero:
        return
    saved = {path.stem: os.path.relpath(path) for c in trainer.checkpoint_callbacks if (path := _own(c, cli.folder))}
    print(f"{trainer.global_step:,} steps and {progress.current.processed} of {trainer.max_epochs} epochs are trained")
    for line in _files(cli, saved):
        print(line)


def _own(callback: Any, folder: Path) -> Path | None:
    """Return the file that a callback has written into a run's folder, if it has."""
    path = Path(callback.best_model_path) if _wrote(callback) else None
    return path if path is not None and folder.resolve() in path.resolve().parents else None


def _wrote(callback: Any) -> bool:
    return isinstance(callback, ModelCheckpoint) and bool(callback.best_model_path)


def _test(cli: Any, path: str | None) -> dict[str, float]:
    options = {"ckpt_path": path, "verbose": False, "weights_only": True}
    found = cli.trainer.test(cli.model, datamodule=cli.datamodule, **options)[0]
    stop_if_told(cli.trainer)
    return found


def _test_best(cli: Any, path: str) -> dict[str, float]:
    """Test the best network, and log its figures under a name of their own: ``test/`` is the last epoch."""
    trainer = cli.trainer
    loggers, trainer.loggers = trainer.loggers, []
    try:
        found = _test(cli, path)
    finally:
        trainer.loggers = loggers
    renamed = {key.replace(KEYS[LAST], KEYS[BEST], 1): value for key, value in found.items()}
    for logger in loggers:
        logger.log_metrics({**renamed, "epoch": trainer.current_epoch}, step=trainer.global_step)
    return found


def _write_results(path: Path, results: dict[str, dict[str, float]]) -> None:
    with naming(path), path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = list(dict.fromkeys(name for values in results.values() for name in values))
        writer.writerow(["network", *names])
        writer.writerows([label, *(values.get(name, "") for name in names)] for label, values in results.items())


def offline_parts(folder: Path) -> list[Path]:
    """Return W&B's offline folders of a run in the order of time, those of the runs that it goes on with included."""
    own = sorted((folder / "wandb").glob("offline-run-*"))
    if not own:
        return []
    run_id = own[-1].name.rpartition("-")[2]
    return sorted(folder.parent.glob(f"version_*/wandb/offline-run-*-{run_id}"), key=lambda path: path.name)


def _files(cli: Any, saved: dict[str, str]) -> list[str]:
    """Return a line for every file of the run that there is."""
    folder = cli.folder
    files = {"CSV log": folder / "metrics.csv", "settings": folder / CONFIG, "W&B files": folder / "wandb"}
    files["pictures"] = folder / "pictures"
    named = {**{f"{label} checkpoint": path for label, path in saved.items()}, "results": folder / "test.csv", **files}
    for logger in cli.trainer.loggers:
        place = None if isinstance(logger, WandbLogger) else getattr(logger, "log_dir", None) or logger.save_dir
        if place is not None and not (isinstance(logger, CSVLogger) and Path(place) == folder):
            named[type(logger).__name__] = place
    lines = {label: str(path) for label, path in named.items() if Path(path).exists()}
    offline = offline_parts(folder)
    if offline:
        lines["W&B files"] += f" (upload it with: {shlex.join(['wandb', 'sync', *map(str, offline)])})"
    width = max(map(len, lines), default=0) + 2
    return [f"  {label + ':':<{width}}{text}" for label, text in lines.items()]
