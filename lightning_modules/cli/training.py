"""``dyc fit``, ``validate``, ``test`` and ``predict``: LightningCLI with this package's model, data and run folders."""

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

import lightning_modules
from dyc.whole_files import remove_unfinished
from lightning_modules.callbacks import MaskFiles, PredictionTable
from lightning_modules.cli.ckpt_path import newest, take_checkpoint
from lightning_modules.cli.errors import first_of_all, refusals_of_the_trainer
from lightning_modules.cli.evaluations import describe_checkpoint, report_evaluation
from lightning_modules.cli.fit_summary import print_interruption, print_summary
from lightning_modules.cli.imports import HELP as IMPORT_HELP
from lightning_modules.cli.imports import import_named
from lightning_modules.cli.interruption import stop_if_told, told_by_exit_status
from lightning_modules.cli.option_errors import OneLineParser, one_line
from lightning_modules.cli.quiet import quiet
from lightning_modules.cli.restarts import note_restart
from lightning_modules.cli.run_callbacks import run_callbacks
from lightning_modules.cli.saved_config import SaveRunConfig
from lightning_modules.cli.short_forms import expand
from lightning_modules.cli.task_option import HELP as TASK_HELP
from lightning_modules.cli.task_option import task_of
from lightning_modules.cli.wandb_options import add_wandb_options, run_loggers
from lightning_modules.loggers import RunLoggers, finish_wandb, with_run_loggers
from lightning_modules.resume import epochs_behind
from lightning_modules.runs import CHECKPOINTS, claim_folder, give_back
from lightning_modules.tasks import TASKS
from ops import ArgumentError

EVERY_HELP = "Steps between two checkpoints within an epoch; by default there is one at its end alone."


class DycCLI(LightningCLI):
    """LightningCLI whose runs each get a folder ``RUNS/NAME/version_N`` with config, logs and checkpoints.

    Args:
        command: The subcommand to run, with which the command line starts.
        task: The name of the task, whose model and data it has.
        settings: Those of LightningCLI.
    """

    def __init__(self, command: str, task: str, **settings: Any) -> None:
        self.command, self.task = command, TASKS[task]
        self.task_name = task
        classes = (getattr(lightning_modules, name) for name in (self.task.module, self.task.data))
        super().__init__(*classes, **settings)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run, ahead of the long groups."""
        super().add_default_arguments_to_parser(parser)
        parser.add_argument("--name", type=str, default="run", help="Name of the run: its folder, and its name in W&B.")
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        tasks = Literal[tuple(TASKS)]
        parser.add_argument("--task", type=tasks, default=self.task_name, help=TASK_HELP)
        parser.add_argument("--import", type=str | list[str], default=[], metavar="FILE.py|MODULE", help=IMPORT_HELP)
        parser.add_argument("--checkpoint_every", type=int | None, default=None, metavar="STEPS", help=EVERY_HELP)
        add_wandb_options(parser)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add model and data before the trainer, whose options fill many screens of ``--help``."""
        # As add_lightning_class_args does, but without the argument that only Python can give.
        skipped = {"net"} & inspect.signature(self._model_class).parameters.keys()
        parser.add_class_arguments(self._model_class, "model", fail_untyped=False, sub_configs=True, skip=skipped)
        parser.add_lightning_class_args(self._datamodule_class, "data")
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{k}": v for k, v in self.trainer_defaults.items()})
        own = f"{RunLoggers.__module__}.{RunLoggers.__qualname__}"
        parser.set_defaults({"trainer.logger": [{"class_path": own}]})

    def subcommands(self) -> dict[str, set[str]]:
        """Name the command that is run, as a parser takes long to build, with the arguments that are no options."""
        skipped = LightningCLI.subcommands()[self.command]
        # Evaluations print a table of their own.
        return {self.command: skipped | {"verbose"} if self.command in ("validate", "test") else skipped}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and note which options were given: an evaluation takes the others from the checkpoint."""
        super().parse_arguments(parser, args)
        self.given = parser.parse_args(args, defaults=False)[self.config.subcommand]

    def _parse_ckpt_path(self) -> None:
        """Find and check ``--ckpt_path`` before anything is built; an evaluation takes its settings from it."""
        config = self.config[self.config.subcommand]
        self.resumes_by_itself = config.get("ckpt_path") == "auto"
        if self.resumes_by_itself:
            config["ckpt_path"] = newest(Path(config["runs"]), config["name"])
        self.checkpoint = take_checkpoint(self)

    def before_instantiate_classes(self) -> None:
        """Claim the run's folder; only the first of several processes writes to it."""
        config = self.config[self.subcommand]
        if config["checkpoint_every"] is not None and config["checkpoint_every"] < 1:
            raise ArgumentError("checkpoint_every", config["checkpoint_every"], "at least 1")
        if not config["name"] or Path(config["name"]).is_absolute() or ".." in Path(config["name"]).parts:
            raise ArgumentError("name", repr(config["name"]), "a relative name, such as 'cifar10/dyc'")
        self.run_root, self.run_name = Path(config["runs"]), config["name"]
        self.folder = self.run_root / self.run_name / "version_0"
        if self.subcommand in ("fit", "predict") and first_of_all():
            for folder in (self.run_root / self.run_name).glob(f"version_*/{CHECKPOINTS}"):
                remove_unfinished(folder)
            self.folder = claim_folder(self.run_root, self.run_name)
            _claimed.append((self.folder, self.run_root))
        self.save_config_callback = SaveRunConfig if self.subcommand == "fit" else None
        self.save_config_kwargs = {"folder": self.folder}

    def instantiate_classes(self) -> None:
        """Build everything; what a class cannot do without is said in one line."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if isinstance(error, ArgumentError) or "Problem with given class_path" not in str(error):
                raise
            raise ArgumentError(one_line(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the loggers and callbacks that every run has."""
        config = self._get(self.config_init, "trainer")
        loggers: Any = False
        if self.subcommand == "fit":
            loggers = RunLoggers() if config["logger"] in (None, True) else config["logger"]
            if config["fast_dev_run"]:
                loggers = False
            elif loggers is not False:
                loggers = with_run_loggers(loggers, lambda: run_loggers(self))
            if config["enable_autolog_hparams"]:  # RunSettings logs them, and more
                kwargs["enable_autolog_hparams"] = False
        if self.subcommand == "predict":
            kwargs |= {"devices": 1, "num_nodes": 1, "strategy": "auto"}  # rows are written in the order of the data
        self.trainer_defaults["callbacks"] = run_callbacks(self, config, bool(loggers))
        with refusals_of_the_trainer(config):
            return super().instantiate_trainer(logger=loggers, **kwargs)

    @cached_property
    def predictions(self) -> Any:
        """What writes the predictions into the run's folder."""
        if self.task_name == "segmentation":
            return MaskFiles(self.folder / "predictions")
        return PredictionTable(self.folder / "predictions.csv")

    def before_fit(self) -> None:
        """Check data, network and checkpoint against each other before a logger is started."""
        self.model.imports = self.config_init["fit"]["import"]
        note_restart()
        if not self.trainer.is_global_zero:
            return
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        self.model.fit_to(self.datamodule)
        if self.checkpoint is None:
            return
        done, epochs = epochs_behind(self.checkpoint), self.trainer.max_epochs
        if epochs is not None and 0 <= epochs <= done and not self.resumes_by_itself:
            raise ArgumentError(
                "trainer.max_epochs", epochs, f"more than {done}, the epochs that the checkpoint has behind it"
            )
        self.model.on_load_checkpoint(self.checkpoint)
        self.datamodule.load_state_dict(self.checkpoint.get(type(self.datamodule).__name__, {}))
        position = f"step {self.checkpoint['global_step']:,}, {done} epochs finished"
        print(f"resuming from {self.config_init['fit']['ckpt_path']} ({position}); this run writes to {self.folder}")

    def fit(self, **options: Any) -> None:
        """Train; if a signal ends it, say how far it came and where everything is."""
        try:
            self.trainer.fit(**options)
        except SIGTERMException:
            print_interruption(self)
            raise

    def after_fit(self) -> None:
        """Test the network of the last epoch and the best one, and say where everything is."""
        stop_if_told(self.trainer)
        if not self.trainer.fast_dev_run:
            print_summary(self)

    def validate(self, **options: Any) -> None:
        """Evaluate on the validation split: say what is evaluated, and keep what is found."""
        self._evaluate("val", self.trainer.validate, options)

    def test(self, **options: Any) -> None:
        """Evaluate on the test split, as :meth:`validate`."""
        self._evaluate("test", self.trainer.test, options)

    def _evaluate(self, split: str, run: Callable[..., Any], options: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:
            print(describe_checkpoint(Path(options["ckpt_path"]), self.checkpoint))
        run(**options, verbose=False)
        report_evaluation(self, split)
        stop_if_told(self.trainer)

    def after_predict(self) -> None:
        """Say where the predictions are."""
        print(f"predictions: {self.predictions.path}")
        stop_if_told(self.trainer)


_claimed: list[tuple[Path, Path]] = []


def main(argv: Sequence[str]) -> None:
    """Run ``dyc fit|validate|test ...``; ``argv`` starts with the command's name."""
    run(argv)


def run(argv: Sequence[str]) -> DycCLI:
    """Run ``dyc fit|validate|test|predict ...``, and return the finished command."""
    quiet()
    torch.set_float32_matmul_precision("high")  # TF32 on the GPUs that have it, as every published recipe runs
    argv, configs = import_named(argv)
    task = task_of(argv, configs)
    sys.argv[1:] = expand(argv, configs)  # LightningCLI names the program and saves the command from here
    command = argv[0]
    seeds = " [--seeds SEED ... [--jobs N]]" if command == "fit" else ""  # lightning_modules/cli/jobs/seeds.py
    usage = f"dyc {command} [-c CONFIG ...] [--name NAME]{seeds} [--GROUP.OPTION VALUE ...] [--ckpt_path CKPT_PATH]"
    status = 1
    try:
        with told_by_exit_status():
            cli = DycCLI(
                command,
                task,
                parser_class=OneLineParser,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                trainer_defaults={"max_epochs": 100, "enable_model_summary": False},  # EpochReport says it in one line
                parser_kwargs={
                    "prog": "dyc",
                    "allow_abbrev": False,
                    command: {"usage": usage, "allow_abbrev": False},
                },
            )
        status = 0
        return cli
    finally:
        finish_wandb(status)
        while _claimed:  # a run that failed before it wrote anything leaves nothing
            give_back(*_claimed.pop())
