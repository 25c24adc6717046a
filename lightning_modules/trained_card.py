"""What a checkpoint of ``dyc fit`` and the files of its run say for a model card."""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dyc.export.model_card import ModelCard
from lightning_modules.network_source import title_of
from lightning_modules.resume import epochs_behind

HUB = "hfds/"

TESTED = {"last": "last epoch", "best": "best on validation"}
"""By the name of a checkpoint's file, the row of ``test.csv`` with its figures."""


def card_of(path: Path, checkpoint: Mapping[str, Any], **said: Any) -> ModelCard:
    """Return the model card of a checkpoint: its data, recipe and test results.

    Args:
        path: The checkpoint's file, beside whose folder its run keeps ``test.csv``.
        checkpoint: What is in it.
        said: What the user says, such as ``license``: fields of :class:`dyc.export.model_card.ModelCard`.
    """
    hparams, data = checkpoint["hyper_parameters"], checkpoint.get("datamodule_hyper_parameters") or {}
    name = str(data.get("dataset") or "")
    dataset = name.removeprefix("torch/").removeprefix(HUB)
    if name == "folder" and data.get("root"):
        dataset = Path(data["root"]).resolve().name
    # Of local-dir:PATH, as of a folder of images, the path itself is nobody's business.
    title = title_of({**hparams, "model": re.split("[:/]", hparams["model"])[-1]})
    card = ModelCard(
        title=f"{title} on {dataset}" if dataset else title,
        dataset=dataset,
        hub_dataset=name.removeprefix(HUB) if name.startswith(HUB) else "",
        recipe=_recipe(hparams, data, checkpoint),
        metrics=_metrics(path),
    )
    return replace(card, **{field: value for field, value in said.items() if value})


def _recipe(hparams: Mapping[str, Any], data: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were set, by name."""
    found: dict[str, Any] = {"epochs": epochs_behind(checkpoint)} if "loops" in checkpoint else {}
    for group in ("optimizer", "schedule", "regularization"):
        found |= {f"{group}.{name}": value for name, value in (hparams.get(group) or {}).items()}
    found |= {name: hparams.get(name) for name in ("ema_decay", "pretrained", "class_weights")}
    augmentation = ("batch_size", "image_size", "crop_padding", "crop_size", "scale", "hflip")
    augmentation += ("colour_jitter", "auto_augment", "erase_prob")
    found |= {name: data.get(name) for name in augmentation}
    return {name: value for name, value in found.items() if value not in (None, False, {}, [], "")}


def _metrics(path: Path) -> dict[str, float]:
    """Return the test results of a checkpoint's run, if it has ended; else nothing."""
    results, label = path.parent.parent / "test.csv", TESTED.get(path.stem)
    if not results.is_file():
        return {}
    with results.open(newline="") as file:
        rows = {row.pop("network"): row for row in csv.DictReader(file)}
    return {name: float(value) for name, value in rows.get(label, {}).items() if value}
