"""Reads what W&B wrote offline: its log of records, in LevelDB's log format after a header of 7 bytes."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.processes import HANGS
from wandb.proto import wandb_internal_pb2 as messages

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = range(1, 5)


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a ``.wandb`` file."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        part = data[place + HEADER : place + HEADER + length]
        if len(part) < length:  # not yet written
            return
        place += HEADER + length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            record = messages.Record()
            record.ParseFromString(parts)
            yield record


def values(items: Any) -> dict[str, Any]:
    """Return the values of a record's items by their key; nested keys are joined with a dot."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_run(folder: Path) -> SimpleNamespace:
    """Return the run of one offline folder of W&B: run, config, summary, history, axes and exit status.

    The run must have been finished. W&B's service may write the end of its file a little later.
    """
    deadline = time.monotonic() + HANGS
    while (found := _read(folder)).status is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _read(folder: Path) -> SimpleNamespace:
    (path,) = folder.glob("*.wandb")
    found = SimpleNamespace(run=None, config={}, summary={}, history=[], axes={}, status=None, files=folder / "files")
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= values(record.run.config.update)
        elif kind == "config":
            found.config |= values(record.config.update)
        elif kind == "summary":
            found.summary |= values(record.summary.update)
        elif kind == "history":
            found.history.append({**values(record.history.item), "_step": record.history.step.num})
        elif kind == "metric":
            found.axes[record.metric.name.replace("\\.", ".") or record.metric.glob_name] = record.metric.step_metric
        elif kind == "exit":
            found.status = record.exit.exit_code
    return found
