"""Records of what is counted or timed."""

import shlex
from collections.abc import Mapping
from datetime import date

from experiments.papers.entries import Row
from experiments.records import Record


def record(
    row: Row, how: str, metric: str, value: str, unit: str, *, seconds: float, facts: Mapping[str, str]
) -> Record:
    """Return one figure of a row as a record.

    Args:
        row: The row.
        how: ``"count"`` or ``"latency"``.
        metric: What was measured.
        value: In ``unit``.
        unit: As the paper prints it.
        seconds: How long measuring took.
        facts: ``hardware``, ``versions`` and ``commit``.
    """
    paper, _, name = row.path.partition("/")
    return Record(
        paper=paper,
        row=name,
        metric=metric,
        value=value,
        unit=unit,
        seed="",
        epochs="",
        protocol=how,
        images_per_second="",
        wall_seconds=f"{seconds:.3g}",
        date=date.today().isoformat(),
        command=shlex.join(["dyc", "run", row.path]),
        **facts,
    )
