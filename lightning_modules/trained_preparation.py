"""How the images of a training were prepared for its evaluation, as its checkpoint says."""

from collections.abc import Mapping
from typing import Any

from lightning_modules.data.catalog import IN_MEMORY
from lightning_modules.data.preparation import DEFAULT_CROP


def preparation_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says, by field of :class:`lightning_modules.data.preparation.Preparation`."""
    data = checkpoint.get("datamodule_hyper_parameters") or {}
    found: dict[str, Any] = {}
    if data.get("image_size") and data.get("mean"):
        whole = data.get("in_memory") or data.get("dataset") in IN_MEMORY  # small images are not cropped
        found = {
            "input_size": [len(data["mean"]), data["image_size"], data["image_size"]],
            "mean": list(data["mean"]),
            "std": list(data["std"]),
            "interpolation": "bilinear",
            "crop_pct": 1.0 if whole else DEFAULT_CROP,
            "crop_mode": "center",
        }
    names = (checkpoint.get("ImageData") or {}).get("class_names")
    return found | ({"class_names": list(names)} if names else {})
