"""``dyc run``: measure rows of the papers' tables through the ordinary commands, and keep what was measured."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.run.parser import parser


def main(argv: Sequence[str]) -> None:
    """Run ``dyc run ...``; ``argv`` starts with the command's name."""
    options = parser().parse_args(argv[1:])
    from experiments.records import read_all
    from experiments.run.listing import papers_listed, plan_listed
    from experiments.run.plan import TO_TRAIN
    from experiments.run.settings import check_free

    kept = list(read_all(options.results))  # a damaged file is named before hours are spent
    if not options.papers:
        print(papers_listed(kept))
        return
    check_free(options.set)
    check_cluster(options)
    items = planned(options, kept)
    if options.dry_run:
        from experiments.run.estimate import estimates

        print(plan_listed(items, estimates(items, options.jobs), options.jobs))
        return
    check_writable("results", options.results)
    if any(each.status in TO_TRAIN for each in items if each.how == "train"):
        check_writable("runs", options.runs)
    print(plan_listed([each for each in items if each.status in ("none", "refused", "running")]), end="")
    failed = measured(items, options.results)
    done = sum(len(each.figures) for each in items if each.how in ("count", "latency") and each.status == "done")
    if done:
        print(
            f"counted or timed before, and kept in {options.results}: {done} of the figures; --results FOLDER measures "
            "them anew",
            file=sys.stderr,
        )
    stopped_by, whole = trained(items, options)
    from lightning_modules.cli.jobs.seeds import end

    if stopped_by is not None:
        print("stopped; the same command goes on from the checkpoints", file=sys.stderr)
    end(stopped_by, whole and not failed and not any(each.status == "refused" for each in items))


def names() -> list[str]:
    """Return what a shell offers to complete: the papers, their tables and rows."""
    from experiments.papers import papers

    found = []
    for name, paper in papers().items():
        found.append(name)
        for table, each in paper.tables.items():
            found += [f"{name}/{table}", *(row.path for row in each.rows.values())]
    return found


def planned(options: Any, kept: Sequence[Any]) -> list[Any]:
    """Return what the command line asks for, as :class:`experiments.run.plan.Item`."""
    from experiments.run.plan import items_of, rows_of, training_name, ways_of
    from experiments.run.settings import arguments_of, check_step
    from lightning_modules.cli.jobs.training import Training

    further = [f"data.root={options.data}"] if options.data else []
    further += ["data.download=true"] if options.download else []
    found = []
    for row in rows_of(options.papers):
        trainings, is_trained = [], "train" in {*ways_of(row)} & {*options.only}
        if is_trained:
            check_step(row, options.protocol, options.set)
        for seed in dict.fromkeys(options.seeds) if is_trained else ():
            arguments = arguments_of(row, options.protocol, seed, [*further, *options.set])
            title = f"{row.path} seed {seed} ({options.protocol})"
            name = training_name(row, options.protocol, seed)
            trainings.append((seed, Training(name, arguments, options.runs, title)))
        items = items_of(row, options.protocol, trainings, kept)
        found += [each for each in items if each.how in (*options.only, "none")]
    return found


def measured(items: Sequence[Any], results: Path) -> bool:
    """Count and time what is to be counted or timed; tell whether something failed."""
    from ops import ArgumentError

    failed = False
    for how in ("count", "latency"):
        rows = [each.row for each in items if each.how == how and each.status == "new"]
        if not rows:
            continue
        from experiments.measure import measure

        try:
            measure(rows, how, results)
        except ArgumentError as error:
            print(f"dyc run: error: {error}", file=sys.stderr)
            failed = True
    return failed


def trained(items: Sequence[Any], options: Any) -> tuple[int | None, bool]:
    """Train what is to be trained; return the signal that stopped it, and whether all came to its end."""
    from experiments.run.keep import keep
    from experiments.run.plan import TO_TRAIN
    from experiments.run.settings import fixed
    from lightning_modules.cli.jobs.execute import Execution
    from ops import ArgumentError

    by_training = {each.training: each for each in items if each.how == "train"}
    whole = True
    for each in by_training.values():
        if each.status != "not recorded":
            continue
        try:
            with held(each.training) as mine:
                if mine:
                    keep(each, options.results)
                    print(f"{each.training.label}: was trained before; recorded now", file=sys.stderr)
        except ArgumentError as error:
            print(f"{each.training.label}: failed: {error}", file=sys.stderr)
            whole = False
    todo = [each for each in by_training.values() if each.status in TO_TRAIN]
    if options.cluster and todo:
        from experiments.run.cluster import submit

        return submit(todo, options)

    def ended(training: Any) -> None:
        keep(by_training[training], options.results)

    if todo:
        execution = Execution(
            [each.training for each in todo],
            options.jobs,
            ended=ended,
            settings=fixed,
        )
        outcomes = execution.run()
        whole = whole and all(each.kind in ("finished", "elsewhere") for each in outcomes)
        if execution.stopped_by is not None:
            return execution.stopped_by, False
    done = sum(each.status in ("done", "not recorded") for each in by_training.values())
    trainings = len(by_training)
    if trainings:
        print(f"{trainings} trainings: {done} were done before, {len(todo)} run now", file=sys.stderr)
    return None, whole


@contextmanager
def held(training: Any) -> Iterator[bool]:
    """Lock a training that has ended, so that two processes do not both record it; False where another has it."""
    from lightning_modules.cli.jobs import history

    try:
        lock = history.lock(training)
    except OSError:  # a folder that cannot be written, in which no process can train either
        yield True
        return
    if lock is None:
        yield False
        return
    with lock:
        yield True


def check_writable(argument: str, folder: Path) -> None:
    """Raise ArgumentError if no file can be written to a folder, which need not exist yet."""
    from ops import ArgumentError

    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ArgumentError(argument, f"{str(folder)!r}, which cannot be written", "a folder of yours")


def check_cluster(options: Any) -> None:
    """Raise ArgumentError unless what a cluster needs is there."""
    from ops import ArgumentError

    if options.cluster_options and not options.cluster:
        raise ArgumentError("cluster_options", sentence="needs --cluster")
    if options.cluster:
        from experiments.run.cluster import executor_options

        executor_options(options)
