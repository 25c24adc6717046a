"""What is known about the parts of a training beside its own files: when they ran, on what, and of which code."""

import fcntl
import json
import time
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any

from dyc.benchmark import machine
from lightning_modules.cli.jobs.training import Training
from ops import ArgumentError

FILE = "job.json"


def lock(training: Training) -> IO[str] | None:
    """Return an open file that locks a training, until whoever has it open has ended; None if another has.

    The process that trains gets it too, so that a training is not begun twice where only its parent was killed.
    """
    training.folder.mkdir(parents=True, exist_ok=True)
    file = (training.folder / "job.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def is_locked(training: Training) -> bool:
    """Tell whether a training runs now."""
    try:
        with (training.folder / "job.lock").open() as file:  # to be read: the folder may be another user's
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it cannot be read
        return False
    return False


def read(training: Training) -> dict[str, Any]:
    """Return ``settings`` and ``parts`` of a training; empty where there is none yet.

    Raises:
        ArgumentError: The file is damaged.
    """
    path = training.folder / FILE
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {"parts": []}
    except (OSError, ValueError) as error:
        raise ArgumentError("runs", sentence=f"{path} is damaged ({error}); move {training.folder} away") from error
    if not isinstance(known, dict) or not isinstance(known.get("parts"), list):
        raise ArgumentError("runs", sentence=f"{path} is damaged (it has no parts); move {training.folder} away")
    return known


def begin(training: Training, facts: dict[str, str], settings: dict[str, Any]) -> None:
    """Note that a part begins."""
    known = read(training)
    _write(training, {"settings": settings, "parts": [*known["parts"], {**facts, "began": time.time(), "ended": None}]})


def end(training: Training) -> None:
    """Note that a part has ended."""
    known = read(training)
    if known["parts"]:
        known["parts"][-1]["ended"] = time.time()
        _write(training, known)


def seconds(training: Training) -> float:
    """Return how long a training took, all parts together; a part that was killed ends with its last file."""
    parts = read(training)["parts"]
    files = [path.stat().st_mtime for folder in training.versions() for path in folder.rglob("*") if path.is_file()]
    total = 0.0
    for part, after in zip(parts, [*parts[1:], None]):
        until = after["began"] if after else float("inf")
        written = [moment for moment in files if part["began"] <= moment <= until]
        total += max(0.0, (part["ended"] or max(written, default=part["began"])) - part["began"])
    return total


def machine_facts(threads: int | None, gpu: int) -> dict[str, str]:
    """Return ``hardware``, ``versions`` and ``commit`` of a training that begins on this machine.

    Args:
        threads: Threads of its process; None for PyTorch's default.
        gpu: How many GPUs it runs on; 0 for the processor.
    """
    facts = machine()
    cores = facts["threads"].split(" of ")[-1]  # 2 cores
    hardware = f"{facts['cpu']}, {threads} of {cores}" if threads else f"{facts['cpu']}, {facts['threads']}"
    versions = "; ".join(f"{name} {_version(name)}" for name in ("torch", "timm", "lightning"))
    commit = facts["commit"] if facts["commit"] != "none" else f"version {_version('dyc')}"
    if gpu:
        hardware = f"{gpu} x {facts['gpu']}"
    return {"hardware": hardware, "versions": versions, "commit": commit}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _write(training: Training, content: dict[str, Any]) -> None:
    from dyc.whole_files import written_whole  # with PyTorch, which takes seconds

    training.folder.mkdir(parents=True, exist_ok=True)
    with written_whole(training.folder / FILE) as file:
        file.write(json.dumps(content, indent=1).encode())
