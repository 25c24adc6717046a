"""Writing to a disk that may be full or read-only: errors that name the file, and no half rows or half files.

Nothing is imported here that takes long.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a user's share of it that is used up."""

ADVICE = {
    **dict.fromkeys(NO_SPACE, "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "choose a place that this user may read and write"),
    errno.EIO: "the disk or the network to it has failed: check it",
    errno.EFBIG: "the limit of a file's size is reached (ulimit -f)",
    errno.ESTALE: "the network file system has lost it: mount it again",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n)"),
}
"""What to do about each error number that is no fault of the program."""


def is_of_the_disk(error: BaseException) -> bool:
    """Tell whether an error is the disk's, or of a right that the user lacks, whatever the program had done."""
    return isinstance(error, OSError) and error.errno in ADVICE


def disk_error(error: OSError) -> str:
    """Return an error that :func:`is_of_the_disk` as a line: what, which file, and what to do.

    Example:
        >>> disk_error(OSError(errno.EROFS, "Read-only file system", "runs/metrics.csv"))
        "Read-only file system for 'runs/metrics.csv'; choose a place that this user may read and write"
    """
    place = f" for {os.fspath(error.filename)!r}" if error.filename is not None else ""
    return f"{error.strerror}{place}; {ADVICE[error.errno]}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name its file where it names none, as that of a write does."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:  # else its text alone is shown, which a name would hide
            error.filename = str(path)
        raise


def append_whole(path: Path, text: str) -> None:
    """Add text to a file, all of it or nothing: a full disk leaves no half row, to which the next one would be added.

    Raises:
        OSError: The file cannot be written; names it.
    """
    with naming(path), path.open("ab", buffering=0) as file:
        before, left = file.tell(), text.encode()
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


@contextmanager
def new_file(argument: str, path: Path, mode: str = "x", **options: Any) -> Iterator[IO]:
    """Open a file that does not exist yet; where it cannot be finished, nothing is left that a second try would meet.

    Args:
        argument: The argument that an error is about.
        path: The file.
        mode: ``x`` or ``xb``.
        options: Those of :func:`open`.

    Raises:
        ArgumentError: The file exists, or cannot be written.
    """
    made = False
    try:
        with naming(path), path.open(mode, **options) as file:
            made = True
            yield file
    except BaseException as error:
        if made:
            path.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        from ops import ArgumentError  # with PyTorch

        if error.errno in NO_SPACE:
            raise ArgumentError(argument, sentence=disk_error(error)) from error
        got = f"{str(path)!r} ({error.strerror})"
        raise ArgumentError(argument, got, "a new file in an existing folder") from error
