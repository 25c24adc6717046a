"""What a command takes from a checkpoint about the network that it rebuilds, and about the images for it."""

import sys
from dataclasses import asdict
from typing import Any

from lightning_modules.cli.errors import first_of_all
from lightning_modules.conversion_settings import GROUPS, check_fields, check_same, settings_of
from ops import ArgumentError


def take_conversions(config: Any, given: Any, trained: dict[str, Any]) -> None:
    """Take what the checkpoint's network was made by; settings that were given must say the same.

    Args:
        config: All settings of the network by name, defaults included; changed.
        given: Those that the command line and its configuration files give.
        trained: Those of the checkpoint.

    Raises:
        ArgumentError: The given ones are for another network than the checkpoint's, or nothing can rebuild that one.
    """
    if trained.get("net") is not None:
        got = f"a checkpoint of a {trained['net']}, which a Python program built"
        need = "a network that has a name; load this one with ImageClassifier.load_from_checkpoint(..., net=...)"
        raise ArgumentError("ckpt_path", got, need)
    for group in GROUPS:
        value, old = (given or {}).get(group), trained.get(group)
        _check_known(group, old)
        config[group] = old
        if value is None:
            continue
        if not isinstance(value, str | bool):
            value = {**(old or {}), **vars(value)}
        elif old is not None and value is not False:  # the short form says no more than the attention
            value = old if value is True else {**old, "attention": value}
        settings = settings_of(group, value)
        check_same(group, settings, old)
        config[group] = settings and asdict(settings)


def _check_known(group: str, trained: Any) -> None:
    """Raise ArgumentError if a checkpoint has settings of a group that only a newer version knows."""
    try:
        check_fields(group, trained if isinstance(trained, dict) else {})
    except ArgumentError as error:
        sentence = f"its network was made by settings that this version of dyc does not know ({error}); install a newer"
        raise ArgumentError("ckpt_path", sentence=f"{sentence} one") from error


def take_evaluation(config: Any, given: Any, trained: dict[str, Any]) -> None:
    """Take how a training evaluated images where it was not given.

    Args:
        config: All settings of the network by name, defaults included; changed.
        given: Those that the command line and its configuration files give.
        trained: Those of the checkpoint.
    """
    given = (given or {}).get("evaluation") or {}
    for name, value in (trained.get("evaluation") or {}).items():
        if name in config["evaluation"] and name not in given:
            config["evaluation"][name] = value


def take_data_settings(config: Any, given: Any, checkpoint: dict[str, Any]) -> None:
    """Take the checkpoint's data settings where none was given; for another data set, only those of preparation.

    Args:
        config: All settings of the data by name, defaults included; changed.
        given: Those that the command line and its configuration files give.
        checkpoint: The checkpoint.
    """
    given = given or {}
    trained = checkpoint.get("datamodule_hyper_parameters") or {}
    prepared = ("image_size", "mean", "std")
    same = _is_same_set(given, trained)
    for name, value in trained.items():
        # A run's own configuration gives a seed of None: that of seed_everything, which may be another now.
        left_open = name not in given or (name == "seed" and given[name] is None)
        if name in config and left_open and (same or name in prepared):
            config[name] = value
    if same and config.get("val_fraction") and config.get("seed") is None and first_of_all():
        note = "of an older version, does not say by which seed data.val_fraction held out images"
        print(f"note: the checkpoint, {note}; give the training's seed_everything as --data.seed", file=sys.stderr)


def take_seed(config: Any, given: Any, checkpoint: dict[str, Any]) -> None:
    """Let a training that goes on hold out the images that the checkpoint's training did, unless a seed is given.

    Args:
        config: All settings of the command by name, defaults included; changed.
        given: Those of the data that the command line and its configuration files give.
        checkpoint: The checkpoint.
    """
    given, trained = given or {}, checkpoint.get("datamodule_hyper_parameters") or {}
    seed = trained.get("seed")
    if seed is None or given.get("seed") is not None or not _is_same_set(given, trained):
        return
    if type(config["seed_everything"]) is not int or config["seed_everything"] != seed:  # the usual seed needs no words
        config["data"]["seed"] = seed


def _is_same_set(given: Any, trained: dict[str, Any]) -> bool:
    return "dataset" not in given or given["dataset"] == trained.get("dataset")
