"""What the arguments of the data modules may be, whatever the data."""

from typing import Any

from timm.data import create_transform

from ops import ArgumentError

_AT_LEAST_1 = (lambda value: value >= 1, "at least 1")
_AT_LEAST_0 = (lambda value: value >= 0, "at least 0")
_SHARE = (lambda value: 0 <= value <= 1, "a number from 0 to 1")

ALLOWED = {
    "batch_size": _AT_LEAST_1,
    "eval_batch_size": _AT_LEAST_1,
    "image_size": _AT_LEAST_1,
    "num_classes": (lambda value: value >= 2, "at least 2"),
    "num_workers": _AT_LEAST_0,
    "crop_padding": _AT_LEAST_0,
    "hflip": _SHARE,
    "erase_prob": _SHARE,
    "val_fraction": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "crop_scale": (lambda value: len(value) == 2 and 0 < value[0] <= value[1], "two numbers, 0 < smallest <= largest"),
    "scale": (lambda value: len(value) == 2 and 0 < value[0] <= value[1], "two numbers, 0 < smallest <= largest"),
    "colour_jitter": _AT_LEAST_0,
    "std": (lambda value: min(value, default=1) > 0, "positive numbers"),
}
"""For each argument a test that its value passes, and what is needed."""


def check_ranges(**arguments: Any) -> None:
    """Raise an ArgumentError for the first argument, other than None, that is out of its range."""
    for name, value in arguments.items():
        passes, need = ALLOWED[name]
        if value is not None and not passes(value):
            raise ArgumentError(f"data.{name}", value, need)


def check_memory(dataset: str, in_memory: bool, auto_augment: str | None, erase_prob: float) -> None:
    """Raise an ArgumentError for a data set in memory that cannot be there, or is asked for a transform of images."""
    if not in_memory:
        return
    if dataset.startswith("wds/"):
        raise ArgumentError("data.in_memory", f"True with {dataset!r}", "a data set of single images, or false")
    if auto_augment or erase_prob:
        raise ArgumentError(
            "data.auto_augment / data.erase_prob",
            f"{auto_augment!r} / {erase_prob} with {dataset!r}",
            "a data set that is read image by image; those in memory are cropped and flipped as whole batches",
        )


def check_policy(policy: str | None) -> None:
    """Raise an ArgumentError unless timm knows an AutoAugment policy."""
    try:
        create_transform(8, is_training=True, auto_augment=policy)
    except Exception as error:  # timm asserts, and reads numbers out of the name
        need = "a policy of timm, such as rand-m9-mstd0.5, augmix-m3-w3 or original"
        raise ArgumentError("data.auto_augment", f"{policy!r} ({error})", need) from error
