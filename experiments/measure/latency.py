"""Times of rows: all rows of a table with images of one size take turns in one run, beside their static baseline."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dyc.benchmark import machine, measure
from experiments.measure.contestants import backend_of, call_of, reason_against
from experiments.measure.kept import record
from experiments.papers.baselines import baseline_of, printed_ratio
from experiments.papers.catalog import table_of
from experiments.papers.entries import Row
from experiments.papers.units import measured_value
from experiments.records import Record, append
from experiments.run.plan import ways_of
from lightning_modules.cli import tables
from lightning_modules.cli.jobs.history import machine_facts
from lightning_modules.cli.progress import Progress

SECONDS = 20.0
"""Time of all turns of the rows of one table and size together; there are at least 5 and at most 200 rounds."""

BUSY = 0.5
"""Load average from which other processes are said to disturb the times."""


def time_rows(rows: Sequence[Row], results: Path, *, device: str | None = None, seconds: float = SECONDS) -> None:
    """Time rows, print them beside the printed times, and add them to the records.

    With a row all others of its table with images of the same size are timed, and recorded, as ratios are only
    comparable within one run. A record ``forward_time_ratio`` (the metric and ``_ratio``) is the time over that of the
    static baseline, timed in turn with it. Rows whose backend cannot run here are named on stderr.

    Args:
        rows: The rows.
        results: Folder of the records.
        device: ``"cpu"`` or ``"cuda"``; a GPU if there is one.
        seconds: Time for the rows of one table and size.

    Raises:
        ArgumentError: The records cannot be written.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    facts, load = machine_facts(None, int(device == "cuda")), machine()["load"]
    facts["hardware"] += f", load {load}"
    groups = groups_of(rows, device)
    if groups and float(load) > BUSY:
        print(
            f"dyc run: warning: other processes keep this machine busy (load average {load}); times are longer than on "
            "an idle one, ratios are less affected",
            file=sys.stderr,
        )
    table = tables.Table(["row", "backend", "ms", "printed", "x static", "printed"], 2)
    with Progress(len(groups)) as progress:
        for group in groups:
            progress.at(f"{table_of(group[0]).path}, images of {group[0].image_size} pixels")
            append(_time_group(group, device, seconds, facts, table), results)
    if groups:
        print(table)


def groups_of(rows: Sequence[Row], device: str) -> list[list[Row]]:
    """Return what is to be timed, in groups of one table and size of images; names on stderr what cannot be timed."""
    against = {row.path: reason_against(row, device) for row in rows}
    for reason in dict.fromkeys(filter(None, against.values())):
        names = ", ".join(path for path, each in against.items() if each == reason)
        print(f"dyc run: not timed: {names}: {reason}", file=sys.stderr)
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        table, key = table_of(row), _key(row)
        if against[row.path] or (table.path, *key) in found:
            continue
        alike = [each for each in table.rows.values() if "latency" in ways_of(each) and not each.same_as]
        alike = [each for each in alike if _key(each) == key and not reason_against(each, device)]
        found[(table.path, *key)] = alike
    return list(found.values())


def _key(row: Row) -> tuple[int | None, int]:
    return row.image_size, row.benchmark["batch_size"]


def _time_group(
    group: Sequence[Row], device: str, seconds: float, facts: dict[str, str], shown: tables.Table
) -> list[Record]:
    began, table = time.perf_counter(), table_of(group[0])
    contestants = {row.path: row for row in group}
    baselines = {row.path: baseline_of(row, table) for row in group}
    for base in filter(None, baselines.values()):
        if base not in group:
            contestants.setdefault(_name(base, group), base)
    calls = {name: call_of(row, table, device) for name, row in contestants.items()}
    times = {name: each.median_ms for name, each in measure(calls, device=device, seconds=seconds).items()}
    spent, records = time.perf_counter() - began, []
    for row in group:
        base = baselines[row.path]
        ratio = None if base is None else times[row.path] / times[_name(base, group)]
        for figure in ways_of(row)["latency"]:
            ms = measured_value(figure, times[row.path])
            values = [(figure.metric, f"{ms:.5g}", figure.unit)]
            values += [] if ratio is None else [(f"{figure.metric}_ratio", f"{ratio:.5g}", "x")]
            records += [record(row, "latency", *each, seconds=spent, facts=facts) for each in values]
            backend = backend_of(row, table, device) if base is not None else ""
            printed = printed_ratio(row, figure, table)
            cells = [row.path, backend, f"{ms:.4g}", figure.value, "" if ratio is None else f"{ratio:.3f}"]
            cells.append("" if printed is None else f"{printed:.3f}")
            shown.rows.append(cells)
    shown.rows.append(None)
    return records


def _name(base: Row, group: Sequence[Row]) -> str:
    """Return the name under which a baseline is timed: that of its row, unless it is printed for another size alone."""
    return base.path if base in group else f"{base.path} at {base.image_size} pixels"
