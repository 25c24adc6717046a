"""``--ckpt_path``: which checkpoint it means, and what a command takes from it."""

from pathlib import Path
from typing import Any

from lightning_modules.checkpoint_format import check_needed
from lightning_modules.cli.errors import first_of_all
from lightning_modules.cli.imports import import_from_run
from lightning_modules.cli.trained_settings import take_conversions, take_data_settings, take_evaluation, take_seed
from lightning_modules.resume import check_optimizer
from lightning_modules.runs import checkpoints_of, find_checkpoint, read_checkpoint
from lightning_modules.tasks import task_of_checkpoint
from ops import ArgumentError


def newest(runs: Path, name: str) -> str | None:
    """Return the ``--ckpt_path`` of a training that goes on if it can; say so if it cannot."""
    if checkpoints_of(runs, name, "last"):
        return "last"
    if first_of_all():
        print(f"starting: {runs / name} has no checkpoint to resume from")
    return None


def take_checkpoint(cli: Any) -> dict[str, Any] | None:
    """Return the checkpoint that a ``DycCLI``'s configuration names; put into that what has to come from it.

    An evaluation takes all settings from the checkpoint that were not given, a training those of the network, and the
    seed of the data.

    Raises:
        ArgumentError: An evaluation names none, or it is not one for this command, task or network.
    """
    command = cli.config.subcommand
    config = cli.config[command]
    if not config.get("ckpt_path"):
        if command != "fit":
            raise ArgumentError("ckpt_path", sentence="name the checkpoint to evaluate: a path, last or best")
        return None
    path = find_checkpoint(config["ckpt_path"], Path(config["runs"]), config["name"])
    config["ckpt_path"] = str(path)
    checkpoint = read_checkpoint(path)
    check_needed(checkpoint, repr(str(path)), command)
    if not config["import"]:
        config["import"] = import_from_run(path, Path(config["runs"]), checkpoint.get("imports", []))
    if (task := task_of_checkpoint(checkpoint)) != cli.task_name:
        raise ArgumentError("ckpt_path", f"a checkpoint of {task}", f"one of {cli.task_name}, or --task {task}")
    trained, model = checkpoint["hyper_parameters"], config["model"]
    if model["model"] is not None and model["model"] != trained["model"]:
        raise ArgumentError("ckpt_path", f"a checkpoint of {trained['model']!r}", f"one of {model['model']!r}")
    model["model"] = trained["model"]
    take_conversions(model, cli.given.get("model"), trained)
    if command == "fit":
        check_optimizer(model["optimizer"], trained["optimizer"])
        take_seed(config, cli.given.get("data"), checkpoint)
        return checkpoint
    for name in ("model_kwargs", "num_classes", "ema_decay", *cli.task.rebuilt):
        model[name] = trained.get(name, model[name])  # some are younger than the oldest checkpoints
    model["pretrained"] = False
    take_evaluation(model, cli.given.get("model"), trained)
    take_data_settings(config["data"], cli.given.get("data"), checkpoint)
    return checkpoint
