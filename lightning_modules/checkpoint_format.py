"""The version of what a checkpoint holds, so that one from a newer version of this package says so."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ops import ArgumentError

FORMAT = 1
"""Raised when an older version could not go on with what is saved. Checkpoints without a number are older than 1."""

KEY = "dyc"
"""Where a checkpoint keeps its format, and the version of the package that wrote it."""

NEEDED = {
    "fit": ("loops", "optimizer_states"),
    **dict.fromkeys(("validate", "test"), ("epoch", "global_step")),
}
"""What a command takes from a checkpoint beside settings and weights; one of weights alone lacks it."""


def note_format(checkpoint: dict[str, Any]) -> None:
    """Write the format into a checkpoint that is about to be saved."""
    try:
        own = version("dyc")
    except PackageNotFoundError:  # run from its sources
        own = "unknown"
    checkpoint[KEY] = {"format": FORMAT, "version": own}


def check_format(checkpoint: dict[str, Any], place: str = "a checkpoint") -> None:
    """Raise ArgumentError if a checkpoint is of a newer format than this version reads.

    Args:
        checkpoint: The checkpoint.
        place: What it is called.
    """
    found = checkpoint.get(KEY)
    number = found.get("format", 0) if isinstance(found, dict) else 0
    if isinstance(number, int) and number > FORMAT:
        by = found.get("version", "unknown")
        got = f"{place} of format {number}, written by version {by} of dyc"
        raise ArgumentError("ckpt_path", got, f"format {FORMAT} or older: install that version of dyc, or a newer one")


def check_needed(checkpoint: dict[str, Any], place: str, command: str) -> None:
    """Raise ArgumentError if a checkpoint lacks what a command needs of it.

    Args:
        checkpoint: The checkpoint.
        place: What it is called.
        command: The command's name.
    """
    missing = [name for name in NEEDED.get(command, ()) if name not in checkpoint]
    if missing:
        got = f"{place} without {' and '.join(missing)}"
        raise ArgumentError("ckpt_path", got, "a checkpoint of a whole training, such as last.ckpt of `dyc fit`")
