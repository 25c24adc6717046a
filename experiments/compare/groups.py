"""Runs that differ in their seed alone are one group, which has a name and statistics."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from experiments.compare.run import SPEED, Run
from experiments.compare.settings import compared, setting, shown
from lightning_modules.wandb_names import experiment_of
from ops import unknown_name


@dataclass(frozen=True)
class Group:
    """Runs that are compared as one.

    Args:
        name: What the names of its runs have in common, without their seeds and versions.
        runs: The runs, one for each seed.
        older: Names of further runs of the same seeds, which are left out.
    """

    name: str
    runs: Sequence[Run]
    older: Sequence[str] = ()

    def counted(self, metric: str) -> list[Run]:
        """Return the runs whose values of a metric are averaged: the finished ones, or all if none is finished."""
        having = [run for run in self.runs if metric in run.figures]
        return [run for run in having if run.state == "finished"] or having

    def values(self, metric: str) -> list[float]:
        """Return the last values of a metric."""
        return [run.figures[metric] for run in self.counted(metric)]

    @property
    def state(self) -> str:
        """What its unfinished runs are at; empty where all are finished."""
        states = [run.progress for run in self.runs if run.progress]
        several = f"{len(states)} of {len(self.runs)}: " if len(self.runs) > 1 and states else ""
        return several + "; ".join(dict.fromkeys(states))


@dataclass(frozen=True)
class Summary:
    """The figures of a group; None where there are none.

    Args:
        name: The group's name.
        mean: Mean of the metric over the seeds.
        deviation: Its standard deviation (n - 1).
        seeds: Number of seeds in the mean.
        parameters: Smallest and largest number of parameters.
        macs: Likewise for the multiply-adds of one image.
        images_per_second: Median over the epochs of all runs.
        best_epoch: Smallest and largest of the epochs that were best on validation, counted from 1.
        last_epoch: Likewise for the last epoch.
        best: Mean of the best accuracy on validation.
        last: Mean of the last one.
        state: As :attr:`Group.state`.
    """

    name: str
    mean: float | None
    deviation: float | None
    seeds: int
    parameters: tuple[int, int] | None
    macs: tuple[int, int] | None
    images_per_second: float | None
    best_epoch: tuple[int, int] | None
    last_epoch: tuple[int, int] | None
    best: float | None
    last: float | None
    state: str


def summarise(group: Group, metric: str) -> Summary:
    """Return the figures of a group."""
    values = group.values(metric)
    curves = [run.curves[run.watched] for run in group.runs if run.watched in run.curves]
    best = [max(curve, key=lambda epoch: (not math.isnan(curve[epoch]), curve[epoch])) for curve in curves]
    last = [max(curve) for curve in curves]
    speeds = [value for run in group.runs for value in run.curves.get(SPEED, {}).values()]
    return Summary(
        group.name,
        statistics.mean(values) if values else None,
        deviation(values) if len(values) > 1 else None,
        len(values),
        _range(run.settings.get("parameters") for run in group.runs),
        _range(run.settings.get("macs") for run in group.runs),
        statistics.median(speeds) if speeds else None,
        _range(best),
        _range(last),
        statistics.mean(curve[epoch] for curve, epoch in zip(curves, best)) if curves else None,
        statistics.mean(curve[epoch] for curve, epoch in zip(curves, last)) if curves else None,
        group.state,
    )


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation (n - 1); NaN if a value is NaN or infinite, where ``statistics`` fails.

    Example:
        >>> deviation([1.0, 3.0]) ** 2, deviation([1.0, float("inf")])
        (2.0000000000000004, nan)
    """
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _range(values: Iterable[Any]) -> tuple[int, int] | None:
    found = [value for value in values if value is not None]
    return (min(found), max(found)) if found else None


def group_by_settings(runs: Sequence[Run]) -> list[Group]:
    """Group runs that differ in nothing but their seed, and where they were."""
    return _groups(runs, lambda run: json.dumps(compared(run), sort_keys=True, default=str), one_per_seed=True)


def group_by(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """Group runs that have the same value of some settings, whatever else differs.

    Raises:
        ArgumentError: No run has such a setting; names those that are alike.
    """
    known = sorted({key for run in runs for key in run.settings})
    for key in keys:
        if all(setting(run, key) is None for run in runs):
            raise unknown_name("--by", key, known, listing="a setting of these runs")
    groups = _groups(runs, lambda run: tuple(shown(setting(run, key)) for key in keys), one_per_seed=False)
    return [
        Group(", ".join(f"{key}={shown(setting(group.runs[0], key))}" for key in keys), group.runs) for group in groups
    ]


def _groups(runs: Sequence[Run], key: Callable[[Run], Any], one_per_seed: bool) -> list[Group]:
    members: dict[Any, list[Run]] = {}
    for run in runs:
        members.setdefault(key(run), []).append(run)
    found = []
    for together in members.values():
        kept = _newest(together) if one_per_seed else together
        older = [run.name for run in together if run not in kept]
        found.append(Group(_common_name(kept), kept, older))
    names = [group.name for group in found]
    return [
        Group(group.runs[0].name, group.runs, group.older) if names.count(group.name) > 1 else group for group in found
    ]


def _newest(runs: Sequence[Run]) -> list[Run]:
    """Return one run for each seed: the last that is finished, or else the last."""
    by_seed: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.state == "finished"):  # stable: the last one stays
        by_seed[run.seed] = run
    return [run for run in runs if run is by_seed[run.seed]]


def _common_name(runs: Sequence[Run]) -> str:
    names = [PurePosixPath(experiment_of(run.own_name)).parts for run in runs]
    return "/".join(_beginning(names) or names[0])


def _beginning(names: Sequence[Sequence[str]]) -> list[str]:
    """Return the parts that all names begin with."""
    return [column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*names))]


def shortened(groups: Sequence[Group]) -> tuple[str, list[Group]]:
    """Return the folders that the names of all groups begin with, and the groups with the rest as their names.

    Example:
        >>> prefix, groups = shortened([Group("cifar10/static/quick", []), Group("cifar10/dyc/quick", [])])
        >>> prefix, [group.name for group in groups]
        ('cifar10/', ['static/quick', 'dyc/quick'])
    """
    folders = [PurePosixPath(group.name).parts[:-1] for group in groups]
    prefix = "".join(f"{part}/" for part in _beginning(folders)) if len(groups) > 1 else ""
    return prefix, [replace(group, name=group.name.removeprefix(prefix)) for group in groups]
