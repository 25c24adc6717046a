"""Where a run keeps its files, and how its checkpoints are found and checked."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from lightning_modules.checkpoint_format import check_format
from ops import ArgumentError

CHECKPOINTS = "checkpoints"

SETTINGS = {"model", "model_kwargs", "optimizer"}
"""What every checkpoint of an ImageClassifier has among its settings; other programs' may have a model, too."""


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
    try:
        if not path.is_file():
            raise ArgumentError(
                "ckpt_path", f"{str(path)!r}, which does not exist", "the path of a checkpoint, or last"
            )
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise _damaged(path)
    except OSError as error:  # whatever it holds
        raise ArgumentError("ckpt_path", f"{str(path)!r} ({error.strerror})", "a file that can be read") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise _damaged(path) from error
    return path


def _damaged(path: Path) -> ArgumentError:
    size, beside = path.stat().st_size, [other for other in path.parent.glob("*.ckpt") if other != path]
    newest = max(beside, key=lambda other: other.stat().st_mtime, default=None)
    need = "a whole checkpoint" + (f", perhaps {str(newest)!r}" if newest else "")
    return ArgumentError("ckpt_path", f"{str(path)!r}, truncated or damaged ({size:,} bytes)", need)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint of an ImageClassifier, its weights being read only when used, without running its code.

    Raises:
        ArgumentError: The file cannot be read, or holds something else.
    """
    try:
        # mmap: the weights are not read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # zip, pickle and safety errors have no common type
        code = isinstance(error, pickle.UnpicklingError)
        reason = "it holds objects whose loading may run code" if code else str(error).splitlines()[0]
        raise ArgumentError("ckpt_path", f"{str(path)!r}, unreadable ({reason})", "a whole checkpoint") from error
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(hparams, dict) or not hparams.keys() >= SETTINGS or "state_dict" not in checkpoint:
        raise ArgumentError("ckpt_path", f"{str(path)!r}, without a network's settings", "a checkpoint of `dyc fit`")
    check_format(checkpoint, repr(str(path)))
    return checkpoint
