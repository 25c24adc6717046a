"""Where a run keeps its files, and how its checkpoints are found and checked."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from ops import ArgumentError

CHECKPOINTS = "checkpoints"


def next_version(root: Path, name: str) -> str:
    """Return the first ``version_N`` below ``root/name`` that is higher than every one there is."""
    taken = [p.name.removeprefix("version_") for p in (root / name).glob("version_*")]
    return f"version_{max((int(n) for n in taken if n.isdigit()), default=-1) + 1}"


def find_checkpoint(ckpt_path: str, root: Path, name: str) -> Path:
    """Turn ``--ckpt_path`` into a file: a path, or ``last`` / ``best`` for the newest of the runs of that name.

    Raises:
        ArgumentError: There is no such file, or it is not a whole checkpoint.
    """
    if ckpt_path in ("last", "best"):
        found = sorted(
            (root / name).glob(f"version_*/{CHECKPOINTS}/{ckpt_path}*.ckpt"), key=lambda p: p.stat().st_mtime
        )
        if not found:
            raise ArgumentError("ckpt_path", f"{ckpt_path!r}, but {root / name} has none", "the path of a checkpoint")
        path = found[-1]
    else:
        path = Path(ckpt_path)
    if not path.is_file():
        raise ArgumentError("ckpt_path", f"{str(path)!r}, which does not exist", "the path of a checkpoint, or last")
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        raise ArgumentError("ckpt_path", f"{str(path)!r}, truncated or damaged ({size:,} bytes)", "a whole checkpoint")
    return path


def read_hyperparameters(path: Path) -> dict[str, Any]:
    """Return the settings that a checkpoint of an ImageClassifier was trained with, without running its code.

    Raises:
        ArgumentError: The file cannot be read, or holds something else.
    """
    try:
        # mmap: the weights are not read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # zip, pickle and safety errors have no common type
        reason = str(error).splitlines()[0]
        raise ArgumentError("ckpt_path", f"{str(path)!r}, unreadable ({reason})", "a whole checkpoint") from error
    hparams = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if "model" not in hparams or "state_dict" not in checkpoint:
        raise ArgumentError("ckpt_path", f"{str(path)!r}, without a network's settings", "a checkpoint of `dyc fit`")
    return hparams
