"""Run folders as ``dyc fit`` writes them, without a training."""

import csv
from pathlib import Path
from typing import Any

import yaml

DYNAMIC = {"attention": "dyc", "where": "depthwise", "num_kernels": 4}
COLUMNS = (
    "epoch", "step", "attention/entropy", "attention/temperature", "test/top1", "train/images_per_second",
    "train/loss", "train/loss_step", "val/top1",
)  # fmt: skip


def write_run(
    root: Path,
    name: str,
    seed: int = 0,
    val: tuple[float, ...] = (0.5, 0.75),
    test: float | None = 0.75,
    dynamic: bool = False,
    version: int = 0,
    first: int = 0,
    **settings: Any,
) -> Path:
    """Write a run and return its folder.

    Args:
        root: Folder of all runs.
        name: Its name.
        seed: Its seed.
        val: Accuracy on validation after each epoch.
        test: Accuracy at the end; None for a run that goes on.
        dynamic: Whether its network is dynamic: it then logs the state of its attention.
        version: The N of ``version_N``.
        first: The epoch that it starts with, counted from 0.
        settings: Further settings; a dot stands for a part.
    """
    folder = root / name / f"version_{version}"
    folder.mkdir(parents=True)
    hparams = {
        "name": name,
        "runs": str(root),
        "seed_everything": seed,
        "model": "test_resnet",
        "dynamic": DYNAMIC if dynamic else None,
        "parameters": 2000 if dynamic else 1000,
        "macs": 30_000 if dynamic else 25_000,
        "optimizer": {"lr": 0.1, "kwargs": {}},
        "trainer": {"max_epochs": 4, "callbacks": {}, "logger": [{"class_path": "RunLoggers"}]},
        **settings,
    }
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for epoch, value in enumerate(val, start=first):
            state = {"attention/entropy": 0.9, "attention/temperature": 30 - 10 * epoch} if dynamic else {}
            writer.writerow({"step": 10 * epoch})
            writer.writerow({"epoch": epoch, "train/loss_step": 2.0})
            writer.writerow({"epoch": epoch, "val/top1": value, **state})
            writer.writerow({"epoch": epoch, "train/loss": 1 / (epoch + 1), "train/images_per_second": 100 + epoch})
        if test is not None:
            writer.writerow({"epoch": first + len(val), "test/top1": test})
    if test is not None:
        (folder / "test.csv").write_text(f"network,test/top1\nlast epoch,{test}\nbest on validation,{test + 0.01}\n")
    return folder
