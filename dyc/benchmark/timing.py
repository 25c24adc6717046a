"""The core of every benchmark: contestants take turns, and what a figure depends on is stated.

All contestants run once in every round, in an order that changes from round to round, so that a change in
the machine's load affects all of them, and none always runs after the same other one. Compare ratios within one run.
"""

import math
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from dyc.benchmark.memory import peak_bytes

Calls = Mapping[str, Callable[[], object]]

MIN_ROUNDS, MAX_ROUNDS, WARM_UP = 5, 200, 3
CUDA_TURN = 1e-3
"""Seconds that a turn on a GPU lasts at least, so that waiting for the device is not what is measured."""


@dataclass(frozen=True)
class Measurement:
    """Milliseconds of a contestant over its turns, and bytes at its peak (:func:`dyc.benchmark.memory.peak_bytes`)."""

    median_ms: float
    p20_ms: float
    p80_ms: float
    peak_bytes: int


def measure(
    calls: Calls, *, device: str = "cpu", seconds: float = 0.5, in_memory: Calls | None = None
) -> dict[str, Measurement]:
    """Warm up, then measure the memory of each contestant once and its time in turns.

    Args:
        calls: The contestants by name.
        device: ``"cpu"`` or ``"cuda"``; on CUDA cuDNN chooses its algorithms by trial, as training does.
        seconds: Time for all turns together; there are at least 5 rounds and at most 200.
        in_memory: What to call instead where memory is measured, by name.
    """
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        for _ in range(WARM_UP - 1):
            for call in calls.values():
                call()
        memory = {name: peak_bytes(call, device) for name, call in {**calls, **(in_memory or {})}.items()}
        times = take_turns(calls, device=device, seconds=seconds)
    finally:
        torch.backends.cudnn.benchmark = before
    return {name: Measurement(*summary(times[name]), memory[name]) for name in calls}


def take_turns(
    calls: Calls, *, device: str = "cpu", seconds: float = 0.5, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the milliseconds of one call for every turn of each contestant.

    On the CPU a turn is one call. On CUDA it starts and ends with the device idle and holds as many calls as fit into
    a millisecond, at least one.

    Args:
        calls: The contestants by name, warmed up.
        device: ``"cpu"`` or ``"cuda"``.
        seconds: Time for all turns together.
        clock: Returns seconds.
    """

    def turn(call: Callable[[], object], repeats: int) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = clock()
        for _ in range(repeats):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (clock() - start) / repeats

    first = {name: turn(call, 1) for name, call in calls.items()}  # also the last warm-up
    least = CUDA_TURN if device == "cuda" else 0.0
    repeats = {name: max(1, math.ceil(least / max(spent, 1e-6))) for name, spent in first.items()}
    one_round = sum(spent * repeats[name] for name, spent in first.items())
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, int(seconds / max(one_round, 1e-6))))
    order, draw = list(calls), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            times[name].append(1e3 * turn(calls[name], repeats[name]))
    return times


def summary(times: list[float]) -> tuple[float, float, float]:
    """Return median, 20th and 80th percentile of at least two times.

    Example:
        >>> summary([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        (3.5, 2.0, 5.0)
    """
    p20, *_, p80 = statistics.quantiles(times, n=5, method="inclusive")
    return statistics.median(times), p20, p80


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, threads, load, accelerator, versions, and the commit."""
    facts = {"cpu": _processor(), "threads": f"{torch.get_num_threads()} of {len(os.sched_getaffinity(0))} cores"}
    facts["load"] = f"{os.getloadavg()[0]:.2f}"  # of the last minute, before the run
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return {**facts, "torch": torch.__version__, "python": platform.python_version(), "commit": _commit()}


def facts_line(facts: Mapping[str, str]) -> str:
    """Return the facts of :func:`machine` in one line; a ``"command"`` among them is left out.

    Example:
        >>> facts_line({"cpu": "EPYC", "threads": "2 of 4 cores", "command": "dyc bench ops"})
        'cpu EPYC, threads 2 of 4 cores'
    """
    return ", ".join(f"{key} {value}" for key, value in facts.items() if key != "command")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _commit() -> str:
    """Return the commit of this source, marked where files differ from it; "none" outside a repository."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]
    try:
        tracked = subprocess.run(["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True)
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return "none"
    return done.stdout.strip() if tracked.returncode == 0 and done.returncode == 0 else "none"
