"""The end of ``dyc fit``: test accuracy of the last and the best network, and where everything is."""

import csv
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_modules.cli.tables import Table


def print_summary(cli: Any) -> None:
    """Test, print the table, and name the files and the next commands; ``cli`` is a finished ``DycCLI``."""
    trainer, data = cli.trainer, cli.datamodule
    paths = [Path(c.best_model_path) for c in _checkpoints(trainer) if c.best_model_path]
    saved = {path.stem: os.path.relpath(path) for path in paths}
    chosen = {"last epoch": saved.get("last")}
    if "best" in saved:
        chosen["best on validation"] = saved["best"]
    results = {}
    for label, path in chosen.items():
        results[label] = trainer.test(cli.model, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)[0]
    if not trainer.is_global_zero:
        return
    keys = [key for key in ("test/top1", "test/top5", "test/loss") if key in results["last epoch"]]
    columns = ["network", *(key.removeprefix("test/").replace("top", "top-") for key in keys)]
    table = Table(columns, 1, title=f"{cli.model.source.title} on {data.dataset}: test")
    for label, values in results.items():
        figures = (f"{values[k]:.4f}" if k == "test/loss" else f"{values[k]:.2%}" for k in keys)
        table.rows.append([label, *figures])
    print(f"\n{table}\n")
    if data.validates_on_test:
        print("Validation used the test split, so report the last epoch: the best was chosen on test images.")
    if not cli.trainer.loggers:
        return
    _write_results(cli.folder / "test.csv", results)
    for line in _files(cli, saved):
        print(line)


def _checkpoints(trainer: Any) -> list[ModelCheckpoint]:
    return [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]


def _write_results(path: Path, results: dict[str, dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", *next(iter(results.values()))])
        writer.writerows([label, *values.values()] for label, values in results.items())


def _files(cli: Any, saved: dict[str, str]) -> list[str]:
    folder = cli.folder
    lines = [f"  {label + ' checkpoint:':<18}{path}" for label, path in saved.items()]
    lines += [f"  {'CSV log:':<18}{folder / 'metrics.csv'}", f"  {'settings:':<18}{folder / 'config.yaml'}"]
    if (folder / "wandb").is_dir():
        offline = sorted((folder / "wandb").glob("offline-run-*"))
        upload = f" (upload it with: wandb sync {offline[-1]})" if offline else ""
        lines.append(f"  {'W&B files:':<18}{folder / 'wandb'}{upload}")
    config = f"--config {folder / 'config.yaml'}"
    other = next(name for name in ("mobilenetv2_cifar", "dyc_mobilenetv2_cifar") if name != cli.model.model_name)
    tries = [f"dyc fit {config} --model.model {other} --model.model_kwargs {{}} --name {cli.run_name}_{other}"]
    if saved and cli.trainer.max_epochs > 0:
        tries.append(f"dyc fit {config} --ckpt_path last --trainer.max_epochs {2 * cli.trainer.max_epochs}")
    if saved:
        tries.append(f"dyc predict --name {cli.run_name} --ckpt_path {'best' if 'best' in saved else 'last'}")
    return [*lines, "try next:", *(f"  {command}" for command in (*tries, "dyc models"))]
