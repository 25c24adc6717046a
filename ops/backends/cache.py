"""The folder in which compiled files are kept, and how they get there whole.

The command ``dyc`` loads this file by itself, to keep help texts in the same folder. So nothing is imported at its head
that brings PyTorch along.
"""

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


LONGEST_WAIT = 600.0
"""Seconds to wait for another process, several times what the longest work takes."""


def cache_folder() -> Path:
    """Return the folder of compiled files: ``DYC_CACHE``, else ``dyc`` in the user's cache folder."""
    for variable, below in (("DYC_CACHE", "."), ("XDG_CACHE_HOME", "dyc")):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / below
    try:
        return Path.home() / ".cache" / "dyc"
    except RuntimeError as error:
        from ops.errors import BackendUnavailable

        raise BackendUnavailable(
            f"got no home folder ({error}); need DYC_CACHE, a folder for compiled files"
        ) from error


@contextmanager
def moved_into_place(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target`` to write to, and move it there if the block ends without an error.

    Other processes see the whole file or none, whatever happens to this one.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=target.suffix, dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())  # a file that a full disk cut short would end the process that loads it
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Put a digest of a file at its end, where no loader of shared libraries looks, so that damage is found."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    with path.open("ab") as file:
        file.write(digest)


def is_whole(path: Path) -> bool:
    """Tell whether a file is as :func:`seal` left it.

    Loading a shared library that was cut short, or changed, may end the process without a word.
    """
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return False
    size = hashlib.sha256().digest_size
    return len(content) > size and hashlib.sha256(content[:-size]).digest() == content[-size:]


def _wait_for(file: IO) -> None:
    """Wait until nobody else holds a file.

    Raises:
        TimeoutError: Somebody does, for :data:`LONGEST_WAIT`; a process that hangs or was stopped, say.
    """
    end = time.monotonic() + LONGEST_WAIT
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, f"another process holds it for {LONGEST_WAIT:.0f} s", file.name)
        time.sleep(0.1)


@contextmanager
def locked(folder: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold ``folder`` against other processes and threads; ``wait`` is called first where another one holds it.

    The operating system frees the lock of a process that ends in any way. Where there are no locks, as on some network
    file systems, nothing is held: the same work may then be done twice, and the files are whole all the same.

    Raises:
        OSError: The folder cannot be made or written to, or another process has held it for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                _wait_for(file)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
        yield
