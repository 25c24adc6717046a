"""The callbacks that every run has, whatever its configuration adds."""

from typing import Any

from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ProgressBar

from lightning_modules.callbacks import (
    AttentionMonitor,
    BestCheckpoint,
    BetweenSteps,
    CompactProgressBar,
    EpochReport,
    EpochSeed,
    FiniteLoss,
    LastCheckpoint,
    RunSettings,
    SegmentationPictures,
    Throughput,
)
from lightning_modules.callbacks.run_settings import callbacks_by_name
from lightning_modules.cli.wandb_options import wandb_callbacks
from lightning_modules.runs import CHECKPOINTS


def run_callbacks(cli: Any, trainer: Any, logs: bool) -> list[Callback]:
    """Return the callbacks of a ``DycCLI``'s run.

    Args:
        cli: The command, whose folder is claimed.
        trainer: The trainer's settings.
        logs: Whether the run has loggers.
    """
    if cli.subcommand == "predict":
        return [BetweenSteps(), cli.predictions]
    if cli.subcommand != "fit":
        return [BetweenSteps()]
    options = cli.config_init["fit"]
    seed = options["seed_everything"]
    # A seed of False means: leave the generators alone.
    found: list[Callback] = [BetweenSteps()] if seed is False else [BetweenSteps(), EpochSeed(int(seed))]
    found += [FiniteLoss(), Throughput(), AttentionMonitor(), EpochReport()]
    if cli.task_name == "segmentation" and not trainer["fast_dev_run"]:
        found.append(SegmentationPictures(cli.folder / "pictures", wandb=options["wandb_media"]))
    if logs:
        found += [*wandb_callbacks(options), LearningRateMonitor("epoch")]
        if trainer["enable_autolog_hparams"]:
            found.append(RunSettings(_settings(cli)))
    own_bar = any(isinstance(each, ProgressBar) for each in trainer["callbacks"] or [])
    if trainer["enable_progress_bar"] is not False and not own_bar:
        found.append(CompactProgressBar())
    if trainer["enable_checkpointing"] is not False and not trainer["fast_dev_run"]:
        place = cli.folder / CHECKPOINTS
        found += [BestCheckpoint(place, cli.task.watched), LastCheckpoint(place, options["checkpoint_every"])]
    return found


def _settings(cli: Any) -> dict[str, Any]:
    """Return all settings but those of network and data, which know more than what was given."""
    cli._dump_config()
    settings = {name: value for name, value in cli.config_dump.items() if name not in ("model", "data")}
    trainer = settings["trainer"]
    return settings | {"trainer": trainer | {"callbacks": callbacks_by_name(trainer["callbacks"] or [])}}
