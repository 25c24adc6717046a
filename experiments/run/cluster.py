"""Trainings on a cluster, each a job of submitit's; a job that is preempted saves, and goes on when it runs again."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.run.keep import keep
from experiments.run.plan import Item
from experiments.run.settings import fixed
from lightning_modules.cli.jobs.execute import Execution, Outcome
from lightning_modules.cli.jobs.progress import Lines, Watch
from lightning_modules.cli.jobs.training import Training
from ops import ArgumentError

DAY = 24 * 60
POLL = 2.0
"""Seconds between two looks at the jobs."""


class Job:
    """Trains one item and keeps its figures, on the machine that the cluster gives.

    Args:
        item: What to train.
        results: Folder of the records.
    """

    def __init__(self, item: Item, results: Path):
        self.item, self.results = item, results
        self._execution: Execution | None = None

    def __call__(self) -> tuple[str, str]:
        """Train, and return how it ended, as in :class:`Outcome`."""
        self._execution = Execution([self.item.training], ended=self._keep, settings=fixed, catch=False)
        (outcome,) = self._execution.run()
        if outcome.kind == "finished":
            self._keep(outcome.training)  # one that another job has trained meanwhile
        return outcome.kind, outcome.message

    def _keep(self, training: Training) -> None:
        keep(self.item, self.results)

    def checkpoint(self) -> Any:
        """Let the training save, and return what submitit submits again."""
        from submitit.helpers import DelayedSubmission

        if self._execution is not None:
            self._execution.stop()
        return DelayedSubmission(Job(self.item, self.results))


def executor_options(options: Any) -> dict[str, Any]:
    """Return ``--cluster_options`` as submitit's ``AutoExecutor`` takes them.

    Raises:
        ArgumentError: submitit is not installed, or does not know an option.
    """
    import yaml

    found: dict[str, Any] = {"timeout_min": DAY}
    for each in options.cluster_options:
        name, equals, value = each.partition("=")
        if not equals:
            raise ArgumentError("cluster_options", repr(each), "NAME=VALUE, such as timeout_min=600")
        found[name] = yaml.safe_load(value)
    _executor(options, found)
    return found


def _executor(options: Any, values: Mapping[str, Any]) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ArgumentError("cluster", sentence="needs submitit; install it by: pip install 'dyc[slurm]'") from error
    try:
        executor = submitit.AutoExecutor(options.runs.absolute() / "submitit", cluster=options.cluster)
        executor.update_parameters(**values)
    except (NameError, RuntimeError, TypeError, ValueError) as error:
        argument = "cluster" if isinstance(error, RuntimeError) else "cluster_options"
        raise ArgumentError(argument, sentence=" ".join(str(error).split())) from error
    return executor


def submit(items: Sequence[Item], options: Any) -> tuple[int | None, bool]:
    """Submit every item, and show how they go until all have ended.

    The jobs go on where this process is ended, and the same command shows them again.

    Returns:
        No signal, and whether every training came to its end.
    """
    executor, show = _executor(options, executor_options(options)), Lines()
    with executor.batch():
        jobs = [executor.submit(Job(each, options.results.absolute())) for each in items]
    show.begin([each.training for each in items], len(items))
    watches = {job: Watch(item.training) for job, item in zip(jobs, items)}
    for job, watch in watches.items():
        show.say(f"{watch.training.label}: job {job.job_id}")
    outcomes: list[Outcome] = []
    try:
        while watches:
            for job in [each for each in watches if each.done()]:
                training = watches.pop(job).training
                error = job.exception()
                kind, message = ("failed", f"see {job.paths.stderr}") if error is not None else job.result()
                outcomes.append(Outcome(training, kind, message))
                show.ended(training, kind, message)
            show.update(list(watches.values()), [])
            time.sleep(POLL if watches else 0)
    except KeyboardInterrupt:
        names = " ".join(str(job.job_id) for job in watches)
        show.say(f"the jobs go on: {names}; the same command shows them again")
        raise
    finally:
        show.end()
    return None, all(each.kind in ("finished", "elsewhere") for each in outcomes)
