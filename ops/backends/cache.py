"""The folder in which compiled files are kept, and how they get there whole.

The command ``dyc`` loads this file by itself, to keep help texts in the same folder. So nothing is imported at its head
that brings PyTorch along.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


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


@contextmanager
def locked(folder: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold ``folder`` against other processes and threads; ``wait`` is called first where another one holds it.

    The operating system frees the lock of a process that ends in any way. Where there are no locks, as on some network
    file systems, nothing is held: the same work may then be done twice, and the files are whole all the same.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
        yield
