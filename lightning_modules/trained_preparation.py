"""How the images of a training were prepared for its evaluation, as its checkpoint says."""

from collections.abc import Mapping
from typing import Any

from lightning_modules.data.catalog import IN_MEMORY
from lightning_modules.data.preparation import DEFAULT_CROP
from lightning_modules.tasks import USUAL, task_of_checkpoint


def preparation_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says, by field of :class:`lightning_modules.data.preparation.Preparation`.

    Of a segmentation, it also says the colours of the classes, ``palette``.
    """
    data = checkpoint.get("datamodule_hyper_parameters") or {}
    if task_of_checkpoint(checkpoint) != USUAL:
        return _of_masked_images(data, checkpoint)
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


def _of_masked_images(data: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Images of several sizes are segmented as they are: what was trained on is then the best example of a size.
    size = data.get("image_size") or data.get("crop_size")
    if size and data.get("mean"):
        found = {
            "input_size": [len(data["mean"]), *size],
            "mean": list(data["mean"]),
            "std": list(data["std"]),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            **({} if data.get("image_size") else {"resize": False}),
        }
    classes = checkpoint.get("SegmentationData") or {}
    names, palette = classes.get("class_names"), classes.get("palette")
    found |= {"class_names": list(names)} if names else {}
    return found | ({"palette": [list(colour) for colour in palette]} if palette else {})
