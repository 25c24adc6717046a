"""W&B's side of a run: charts over epochs, one W&B run across resumes, and no failure that ends a training."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from lightning_modules.errors import first_line
from lightning_modules.layer_groups import with_group_means
from lightning_modules.wandb_names import shortened_tags

EPOCH, STEP = "epoch", "trainer/global_step"
PER_EPOCH = ("train/", "val/", "test/", "test_best/", "attention/", "channels/", "lr-")
"""How the figures begin that are logged once per epoch."""

INIT_SECONDS, FINISH_SECONDS = 30.0, 300.0
"""How long to wait for W&B's server before and after a training, unless its environment variables say otherwise."""

CHECKPOINT_KEY = "wandb"
"""Where a checkpoint keeps which W&B run it is of."""

STEPS_AFTER_CHECKPOINT = 100_000
"""More than W&B counts of what a run logs after its last checkpoint: the part that goes on counts from there."""

TAGGED = ("attention", "backend")
"""Settings that become tags, ``attention-dyc``: those which the options do not name, as the network decides them."""

_MODES = ("online", "offline", "disabled")


def axis_of(key: str) -> str | None:
    """Return the metric over which a chart of ``key`` is drawn; the axes themselves have none.

    Example:
        >>> axis_of("val/top1"), axis_of("train/loss_step"), axis_of("epoch")
        ('epoch', 'trainer/global_step', None)
    """
    if key in (EPOCH, STEP):
        return None
    return EPOCH if key.startswith(PER_EPOCH) and not key.endswith("_step") else STEP


class RunWandbLogger(WandbLogger):
    """Lightning's logger for W&B, for a training that it must not disturb.

    * Figures of epochs are charted over epochs, so that runs with other batch sizes lie on one axis; others, such as
      ``train/loss_step``, over steps.
    * The entropies of the layers are logged as one mean per stage, see :mod:`lightning_modules.layer_groups`.
    * If W&B's server cannot be reached or refuses the run, it is logged offline. Whatever fails later ends the logging
      alone. Both are said in one line.
    * A resumed run goes on with its W&B run. Its checkpoint says which that is, see :meth:`state`.

    Args:
        folder: The run's folder, which gets a folder ``wandb``.
        mode: ``online`` or ``offline``.
        continued: The :meth:`state` of the run to go on with.
        options: Arguments of :func:`wandb.init`.
    """

    def __init__(
        self,
        folder: Path,
        mode: Literal["online", "offline"],
        continued: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        run_id = continued["id"] if continued else secrets.token_hex(8)  # no generator's state is changed by it
        # W&B's service is a process of its own, whose current folder is that in which the first run was begun.
        super().__init__(save_dir=Path(folder).absolute(), offline=mode == "offline", id=run_id, **options)
        if self._wandb_init["anonymous"] is None:  # W&B warns of its being given at all
            del self._wandb_init["anonymous"]
        self._modes = _MODES[_MODES.index(mode) :]
        self._first_step = continued["step"] if continued else None
        self._defined: set[str] = set()
        self.failed = False
        self.epoch: int | None = None
        """The epoch of figures that are logged without one."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of W&B, which is started when it is first asked for."""
        import wandb

        if self._experiment is None and wandb.run is None and getattr(self, "_attach_id", None) is None:
            self._experiment = self._start()
        return super().experiment

    def _start(self) -> Any:
        import wandb

        limits = {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS}
        limits = {name: value for name, value in limits.items() if f"WANDB_{name.upper()}" not in os.environ}
        for mode in self._modes:
            try:
                run = wandb.init(**self._wandb_init, mode=mode, settings=wandb.Settings(**limits))
            except Exception as error:  # what W&B raises has no common type
                if mode == "disabled":
                    raise
                instead = "this run is logged offline" if mode == "online" else "this run is not logged there"
                say(f"W&B cannot be used ({first_line(error)}); {instead}")
                wandb.teardown()  # its service keeps the id of a run that failed to start
            else:
                if mode != "offline":  # online, the server knows the step
                    self._first_step = None
                return run
        raise AssertionError("a disabled run can always be started")

    @rank_zero_only
    def attempt(self, action: Callable[[Any], Any]) -> None:
        """Do something with W&B's run. If that fails, say so and leave W&B alone from then on."""
        if self.failed:
            return
        try:
            with _files_in(Path(self._save_dir) / "wandb"):
                action(self.experiment)
        except Exception as error:  # of W&B, its service, the disk: a log is never worth a training
            self.failed = True
            say(f"W&B failed ({first_line(error)}); the training goes on without it")

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on with this one: ``id``, ``name``, ``project`` and the first ``step``.

        W&B counts what is logged, and takes nothing that counts less than what it has. Its server says where to go on;
        offline, nobody does.
        """
        step = (0 if self._experiment is None else self._experiment.step) + STEPS_AFTER_CHECKPOINT
        return {"id": self._id, "name": self._name, "project": self._project, "step": step}

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Write the settings into W&B's config, and tag the run with what :data:`TAGGED` of them say."""
        write = super().log_hyperparams

        def log(run: Any) -> None:
            write(params)
            values = {name: params.get(name) for name in TAGGED}
            new = shortened_tags(f"{name}-{value}" for name, value in values.items() if value is not None)
            run.tags = tuple(dict.fromkeys([*run.tags, *new]))

        self.attempt(log)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures, each over its axis."""
        values: dict[str, Any] = with_group_means(metrics)
        if step is not None:
            values[STEP] = step
        if self.epoch is not None and any(axis_of(key) == EPOCH for key in values):
            values.setdefault(EPOCH, self.epoch)
        self.attempt(lambda run: self.log_values(run, values))

    def log_values(self, run: Any, values: Mapping[str, Any]) -> None:
        """Log figures or media, having said over what each is charted; to be called in :meth:`attempt`."""
        for key in values:
            # Each key by its name: of several patterns that fit, it is not said which one counts.
            if key not in self._defined:
                run.define_metric(key.replace(".", "\\."), step_metric=axis_of(key))  # a dot would mean nested figures
                self._defined.add(key)
        first, self._first_step = self._first_step, None
        run.log(dict(values), step=first, commit=True)


def wandb_loggers(trainer: Trainer) -> list[RunWandbLogger]:
    """Return this package's W&B loggers among those of a trainer."""
    return [logger for logger in trainer.loggers if isinstance(logger, RunWandbLogger)]


@contextmanager
def _files_in(folder: Path) -> Iterator[None]:
    """Let W&B keep the images of its tables in the run's folder, unless the user has chosen another than their home."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


@rank_zero_only
def say(text: str) -> None:
    """Write a line about W&B, from the first of several processes."""
    print(text, file=sys.stderr, flush=True)
