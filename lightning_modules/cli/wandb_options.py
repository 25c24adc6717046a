"""The options of ``dyc fit`` for W&B, and what they make of a run."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from lightning_modules.callbacks import WandbAttention, WandbPredictions, WandbSummary
from lightning_modules.loggers import WandbMode, build_loggers
from lightning_modules.runs import CHECKPOINTS
from lightning_modules.tasks import USUAL
from lightning_modules.wandb_logger import CHECKPOINT_KEY

GROUP = "W&B's group; by default the experiment's name, which is the run's without a last folder seedN."


def add_wandb_options(parser: LightningArgumentParser) -> None:
    """Add ``--wandb`` and the like."""
    parser.add_argument(
        "--wandb", type=WandbMode, default="auto", help="W&B: auto is online when logged in and offline otherwise."
    )
    parser.add_argument("--wandb_project", type=str, default="dyc", help="W&B's project.")
    parser.add_argument("--wandb_group", type=str | None, default=None, help=GROUP)
    parser.add_argument(
        "--wandb_tags",
        type=list[str] | str,
        default=[],
        help="Further W&B tags, one or a list; model, attention, backend, data set and seed are always tagged.",
    )
    parser.add_argument(
        "--wandb_media",
        type=bool,
        default=True,
        help="Log the confusion matrix, the worst predictions and the attention to W&B at the end.",
    )


def run_loggers(cli: Any) -> list[Logger]:
    """Return the loggers of a ``DycCLI``'s run."""
    options = cli.config_init[cli.subcommand]
    more = options["wandb_tags"]
    tags = [*cli.model.source.tags, cli.datamodule.dataset_name, f"seed{options['seed_everything']}"]
    return build_loggers(
        cli.folder,
        cli.run_name,
        options["wandb"],
        options["wandb_project"],
        [*tags, *([more] if isinstance(more, str) else more)],
        options["wandb_group"],
        _continued(cli, options),
    )


def _continued(cli: Any, options: Any) -> dict[str, Any] | None:
    """Return the W&B run to go on with: that of the checkpoint, if it is of a run of this name and project.

    Under another name, a training that starts from the same checkpoint is a run of its own.
    """
    known = (cli.checkpoint or {}).get(CHECKPOINT_KEY)
    path = Path(options["ckpt_path"] or "")
    same = path.parent.name == CHECKPOINTS and path.parents[2].resolve() == (cli.run_root / cli.run_name).resolve()
    return known if known and same and known["project"] == options["wandb_project"] else None


def wandb_callbacks(options: Any) -> list[Callback]:
    """Return the callbacks of a run that has loggers; without one of W&B's they do nothing."""
    if options["wandb"] == "disabled":
        return []
    # Other tasks have pictures of their own.
    predictions = [WandbPredictions()] if options.get("task", USUAL) == USUAL else []
    return [WandbSummary(), *([WandbAttention(), *predictions] if options["wandb_media"] else [])]
