"""W&B's own files of a run, ``wandb/offline-run-*/run-*.wandb``, read without W&B's server."""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.compare.run import Run, flat, state_by_age, tidy
from ops import ArgumentError

BLOCK = 32768
HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
RECORD = struct.Struct("<IHB")  # checksum, length, and which part of a record it is
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def offline_files(folder: Path) -> list[Path]:
    """Return W&B's files of the run in a folder, the oldest first: a resumed run has several."""
    inside = ("run-*.wandb", "wandb/*run-*/run-*.wandb") if "run-" in folder.name else ("wandb/*run-*/run-*.wandb",)
    found = {path.resolve(): path for pattern in inside for path in folder.glob(pattern)}  # latest-run is a link
    return sorted(found.values(), key=lambda path: path.parent.name.partition("run-")[2])


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file; one at its end that is not written yet is left out.

    The format is that of LevelDB's log, behind a header of seven bytes:
    https://github.com/google/leveldb/blob/main/doc/log_format.md

    Raises:
        ArgumentError: The file is no such file, or damaged.
    """
    data = path.read_bytes()
    if data[: len(HEADER)] != HEADER:
        raise ArgumentError(str(path), sentence="it is not a file of W&B")
    position, parts = len(HEADER), b""
    while position + RECORD.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD.size:  # the rest of a block that holds no head is filled with zeros
            position += left
            continue
        checksum, length, kind = RECORD.unpack_from(data, position)
        start, end = position + RECORD.size, position + RECORD.size + length
        if end > len(data) or (checksum, length, kind) == (0, 0, 0):
            return
        if zlib.crc32(data[start:end], zlib.crc32(bytes([kind]))) != checksum:
            raise ArgumentError(str(path), sentence=f"it is damaged at byte {position:,}")
        parts = data[start:end] if kind in (WHOLE, FIRST) else parts + data[start:end]
        if kind in (WHOLE, LAST):
            yield parts
        position = end


def read_offline(folder: Path) -> Run:
    """Return the run of W&B's files in a folder.

    Raises:
        ArgumentError: A file is damaged, or has no settings.
    """
    name, key, config, rows = "", "", {}, []
    code: int | None = None
    for path in offline_files(folder):
        code = None
        for kind, content in entries(path):
            if kind == "run":
                name, key = content.display_name or name, content.run_id
                _update(config, content.config)
            elif kind == "config":
                _update(config, content)
            elif kind == "history":
                rows.append({_path(item)[0]: _value(item.value_json) for item in content.item})
            elif kind == "exit":
                code = content.exit_code
    config.pop("_wandb", None)
    if not config:
        raise ArgumentError(str(folder), sentence="W&B's files have no settings")
    curves, figures = tidy(rows)
    state = {None: state_by_age(folder, curves), 0: "finished"}.get(code, "stopped")
    return Run(name or folder.name, flat(config), curves, figures, state, key)


def entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the kind of each record of a file, such as ``history``, and its content.

    Raises:
        ArgumentError: The file is no such file, or damaged.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    for found in records(path):
        try:
            record = Record.FromString(found)
        except DecodeError as error:
            raise ArgumentError(str(path), sentence=f"it is damaged ({error})") from error
        kind = record.WhichOneof("record_type")
        if kind is not None:  # one of a later version of W&B
            yield kind, getattr(record, kind)


def _path(item: Any) -> list[str]:
    return list(item.nested_key) or [item.key]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _update(config: dict[str, Any], change: Any) -> None:
    """Apply one change of a run's configuration."""
    for item in change.update:
        *groups, last = _path(item)
        place = config
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = _value(item.value_json)
    for item in change.remove:
        *groups, last = _path(item)
        place = config
        for group in groups:
            place = place.get(group, {})
        place.pop(last, None)
