"""Where a run keeps its files, and how its checkpoints are found and checked."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from ops import ArgumentError

CHECKPOINTS = "checkpoints"


def claim_folder(root: Path, name: str) -> Path:
    """Make and return ``root/name/version_N``, N being higher than in every such folder there is.

    Runs that start at the same moment get folders of their own.

    Raises:
        ArgumentError: The folder cannot be made.
    """
    while True:
        taken = [p.name.removeprefix("version_") for p in (root / name).glob("version_*")]
        folder = root / name / f"version_{max((int(n) for n in taken if n.isdigit()), default=-1) + 1}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not folder.is_dir():
                raise ArgumentError("runs", f"{str(root)!r}, where {str(folder)!r} is a file", "a folder") from None
        except OSError as error:
            raise ArgumentError("runs", f"{str(root)!r} ({error})", "a folder that can be written") from error


def give_back(folder: Path, root: Path) -> None:
    """Remove a claimed folder, and those above it up to ``root``, as long as they are empty."""
    for path in (folder, *folder.parents):
        try:
            path.rmdir()
        except OSError:  # not empty: it holds this run's files or another run
            return
        if path == root:
            return


def checkpoints_of(root: Path, name: str, kind: str) -> list[Path]:
    """Return the checkpoints ``last`` or ``best`` of the runs of a name, the newest last."""
    found = (root / name).glob(f"version_*/{CHECKPOINTS}/{kind}*.ckpt")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def find_checkpoint(ckpt_path: str, root: Path, name: str) -> Path:
    """Turn ``--ckpt_path`` into a file: a path, or ``last`` / ``best`` for the newest of the runs of that name.

    Raises:
        ArgumentError: There is no such file, or it is not a whole checkpoint.
    """
    if ckpt_path in ("last", "best"):
        found = checkpoints_of(root, name, ckpt_path)
        if not found:
            raise ArgumentError("ckpt_path", f"{ckpt_path!r}, but {root / name} has none", "the path of a checkpoint")
        path = found[-1]
    else:
        path = Path(ckpt_path)
    if not path.is_file():
        raise ArgumentError("ckpt_path", f"{str(path)!r}, which does not exist", "the path of a checkpoint, or last")
    if not zipfile.is_zipfile(path):
        raise _damaged(path)
    with zipfile.ZipFile(path) as archive:
        try:
            if archive.testzip() is not None:
                raise _damaged(path)
        except zipfile.BadZipFile as error:
            raise _damaged(path) from error
    return path


def _damaged(path: Path) -> ArgumentError:
    size = path.stat().st_size
    return ArgumentError("ckpt_path", f"{str(path)!r}, truncated or damaged ({size:,} bytes)", "a whole checkpoint")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint of an ImageClassifier, its weights being read only when used, without running its code.

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
    return checkpoint
