"""Records, put together: the seeds of one figure, by one protocol and on one kind of machine, are one measurement."""

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.compare.groups import deviation
from experiments.records import Record

QUICK = "quick"
ORDER = ("full", "bf16", QUICK, "count", "latency")
"""Protocols as they are shown."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one figure by one protocol on one kind of machine.

    Args:
        metric: The figure.
        unit: As the paper prints it.
        protocol: ``full``, ``quick``, ``count`` or ``latency``.
        hardware: Processor or GPU; empty for counts, which do not depend on it.
        epochs: Of the trainings; empty where nothing is trained.
        records: One for each seed.
    """

    metric: str
    unit: str
    protocol: str
    hardware: str
    epochs: str
    records: tuple[Record, ...]

    @property
    def values(self) -> list[float]:
        """The value of each seed."""
        return [float(record.value) for record in self.records]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation (n - 1); None for one value."""
        return deviation(self.values) if len(self.records) > 1 else None

    @property
    def seeds(self) -> int:
        """Number of seeds; 0 where nothing is random."""
        return sum(bool(record.seed) for record in self.records)

    @property
    def quick(self) -> bool:
        """Whether the recipe was shortened."""
        return self.protocol == QUICK

    @property
    def how(self) -> tuple[str, str, str]:
        """What measurements must have in common to be compared with each other."""
        return self.protocol, self.hardware, self.epochs


def hardware_of(record: Record) -> str:
    """Return what measurements must share to be averaged, of the hardware that a record names.

    Times depend on the number of cores, but not on the load before; accuracies on neither; counts on nothing.

    Example:
        >>> facts = dict.fromkeys(("paper", "row", "metric", "value", "unit", "seed", "epochs", "images_per_second",
        ...     "wall_seconds", "versions", "commit", "date", "command"), "")
        >>> [hardware_of(Record(hardware="x86, 1 of 2 cores, load 0.3", protocol=each, **facts))
        ...     for each in ("latency", "quick", "count")]
        ['x86, 1 of 2 cores', 'x86', '']
    """
    if record.protocol == "count":
        return ""
    hardware = re.sub(r", load [\d.]+", "", record.hardware)
    if record.protocol == "latency":
        return hardware
    parts = (re.sub(r", \d+ of \d+ cores?", "", part) for part in hardware.split(" + "))
    return " + ".join(dict.fromkeys(parts))


def measurements(records: Iterable[Record]) -> dict[tuple[str, str], list[Measured]]:
    """Return what was measured by path and metric; where a seed was measured more than once, the last one counts."""
    found: dict[tuple, dict[str, Record]] = {}
    for record in records:
        key = (record.path, record.metric, record.unit, record.protocol, hardware_of(record), record.epochs)
        found.setdefault(key, {})[record.seed] = record
    by_figure: dict[tuple[str, str], list[Measured]] = {}
    for (path, *what), seeds in found.items():
        by_figure.setdefault((path, what[0]), []).append(Measured(*what, tuple(seeds.values())))
    return {key: sorted(each, key=_rank) for key, each in by_figure.items()}


def _rank(measured: Measured) -> tuple[int, str]:
    return ORDER.index(measured.protocol) if measured.protocol in ORDER else len(ORDER), measured.hardware


All = Mapping[tuple[str, str], list[Measured]]
"""What :func:`measurements` returns."""
