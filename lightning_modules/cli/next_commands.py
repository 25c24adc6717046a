"""The commands that ``dyc fit`` proposes at its end: each can be pasted into a shell as it stands."""

import shlex
from pathlib import Path
from typing import Any

import timm

from dyc.models import model_names
from lightning_modules.cli.saved_config import CONFIG

SMALL = 64
"""Images of at most so many pixels are for the networks that keep their resolution longer, those of CIFAR."""


def next_commands(config: Any, folder: Path, model: str, image_size: int, saved: set[str]) -> list[str]:
    """Return commands to go on with.

    Args:
        config: The settings of the finished run, as parsed.
        folder: Its folder, with its ``config.yaml``.
        model: The network that was trained.
        image_size: Height and width of the images.
        saved: Checkpoints that there are: ``last``, ``best``.
    """
    fit = ["dyc", "fit", "--config", str(folder / CONFIG)]
    commands = []
    if comparable(config):
        commands.append([*fit, *_other_network(config, counterpart(model, image_size))])
    epochs = config["trainer"]["max_epochs"]
    if "last" in saved and epochs is not None and epochs > 0:
        commands.append([*fit, "--ckpt_path", "last", "--trainer.max_epochs", str(2 * epochs)])
    if saved:
        place = [] if config["runs"] == "runs" else ["--runs", config["runs"]]
        which = "best" if "best" in saved else "last"
        commands.append(["dyc", "predict", "--name", config["name"], *place, "--ckpt_path", which])
    return [shlex.join(command) for command in (*commands, ["dyc", "models"])]


def comparable(config: Any) -> bool:
    """Tell whether the settings would train another network too: those of some are for its own layers."""
    made = any(config["model"].get(group) for group in ("dynamic", "selective"))
    callbacks = config["trainer"]["callbacks"] or []
    return not made and not any(each["class_path"].endswith("ChannelRewiring") for each in callbacks)


def counterpart(model: str, image_size: int) -> str:
    """Return a network to compare with: the static form of ours, the DYC form of another, or one for such images."""
    base = model.partition(".")[0]
    static = base.partition("_")[2]
    others = [static, f"{static}_100"] if base in model_names() else []
    small = "mobilenetv2_cifar" if image_size <= SMALL else "mobilenetv2_100"
    others += [f"dyc_{base}", "dyc_" + small, small]
    return next(name for name in others if name != base and timm.is_model(name))


def _other_network(config: Any, other: str) -> list[str]:
    """Return the options that train ``other`` by the settings of a run; what only fits that run's network is reset."""
    options = ["--model.model", other, "--name", f"{config['name']}_{other}"]
    given = config["model"]
    if given["model_kwargs"]:
        options += ["--model.model_kwargs", "{}"]
    if given["pretrained"] and not timm.is_model_pretrained(other):
        options += ["--model.pretrained", "false"]
    if given["optimizer"]["groups"]:
        options += ["--model.optimizer.groups", "{}"]
    if config["ckpt_path"]:
        options += ["--ckpt_path", "null"]
    return options
