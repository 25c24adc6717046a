"""``dyc fit --seeds 0 1 2``: one configuration trained with several seeds, a run of its own for each."""

import signal
import statistics
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.cli.arguments import seed as valid_seed
from lightning_modules.cli.arguments import whole
from lightning_modules.cli.jobs.settings import settings_of
from lightning_modules.tasks import TASKS, USUAL, WATCHED, watched_in

OPTIONS = ("seeds", "jobs")
"""Options of this command alone."""


def wanted(argv: Sequence[str]) -> bool:
    """Tell whether a command line asks for several seeds."""
    return argv[0] == "fit" and any(word.partition("=")[0] == "--seeds" for word in argv)


def main(argv: Sequence[str]) -> None:
    """Run ``dyc fit ... --seeds SEED ... [--jobs N]``; ``argv`` starts with the command's name."""
    seeds, jobs, rest = split(argv[1:])
    if any(word in ("-h", "--help") or word.startswith("--print_config") for word in rest):
        from lightning_modules.cli.training import main as fit

        return fit(["fit", *rest])
    from lightning_modules.cli.jobs.execute import Execution
    from lightning_modules.cli.jobs.training import Training

    resume, rest = _resumes(rest)
    settings = settings_of(rest)
    name, runs = str(settings.get("name") or "run"), Path(str(settings.get("runs") or "runs"))
    trainings = [
        Training(f"{name}/seed{seed}", (*rest, f"--seed_everything={seed}"), runs, resume=resume) for seed in seeds
    ]
    execution = Execution(trainings, jobs)
    outcomes = execution.run()
    found = {each: each.test_figures() for each in trainings}
    watched = next((name for figures in found.values() if (name := watched_in(figures, "test/"))), TASKS[USUAL].watched)
    title, key = WATCHED[watched], f"test/{watched}"
    values_of = {each: figures[key] for each, figures in found.items() if key in figures}
    finished = [each.training for each in outcomes if each.kind == "finished"]
    values = [values_of[each] for each in finished if each in values_of]
    for each in finished:
        if each in values_of:
            print(f"{each.name}: test {title} {values_of[each]:.2%}")
    if len(values) > 1:
        print(f"{len(values)} seeds: test {title} {statistics.mean(values):.2%} +- {statistics.stdev(values):.2%}")
    if len(finished) < len(trainings):
        print("go on with the same command" + ("" if resume else " and --ckpt_path last"))
    end(execution.stopped_by, all(each.kind == "finished" for each in outcomes))


def end(stopped_by: int | None, whole: bool) -> None:
    """End the command as a shell expects: by the signal that stopped it, or with 1 if something failed."""
    if stopped_by == signal.SIGINT:
        raise KeyboardInterrupt
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)
    if not whole:
        raise SystemExit(1)


def split(argv: Sequence[str]) -> tuple[list[int], int, list[str]]:
    """Return seeds, jobs, and the other arguments of a command line."""
    values: dict[str, list[str]] = {}
    rest, left = [], list(argv)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name.lstrip("-") not in OPTIONS or name[:2] != "--":
            rest.append(name + equals + value)
            continue
        found = values.setdefault(name[2:], [])
        found += value.strip("[]").replace(",", " ").split() if equals else []
        while not equals and left and (not left[0].startswith("-") or left[0][1:].isdecimal()):
            found.append(left.pop(0))
    seeds = [_read("seeds", text, valid_seed) for text in values["seeds"]]
    if not seeds:
        raise _refused("seeds", sentence="needs a seed, such as --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise _refused("seeds", " ".join(map(str, seeds)), "each seed once")
    if "seed_everything" in {word.lstrip("-").partition("=")[0] for word in rest}:
        raise _refused("seed_everything", sentence="give the seeds as --seeds alone")
    jobs = values.get("jobs", ["1"])
    return seeds, _read("jobs", " ".join(jobs), whole), rest


def _resumes(arguments: list[str]) -> tuple[bool, list[str]]:
    """Tell whether a command line goes on with runs, and return its other arguments."""
    rest, left, value = [], list(arguments), None
    while left:
        word = left.pop(0)
        if word.partition("=")[0] != "--ckpt_path":
            rest.append(word)
            continue
        value = word.partition("=")[2] or (left.pop(0) if left else "")
    if value not in (None, "last", "auto"):
        raise _refused("ckpt_path", repr(value), "last or auto, as each seed goes on from its own checkpoint")
    return value is not None, rest


def _read(name: str, text: str, read) -> int:
    import argparse

    try:
        return read(text)
    except argparse.ArgumentTypeError as error:
        raise _refused(name, sentence=str(error)) from None


def _refused(*got_and_need: str, **sentence: str) -> ValueError:
    from ops import ArgumentError  # with PyTorch

    return ArgumentError(*got_and_need, **sentence)
