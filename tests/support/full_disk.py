"""A disk that is full in the middle of a file."""

import resource
from contextlib import contextmanager


@contextmanager
def full_after(size: int):
    """Let no file grow beyond a size: as a full disk does, writing ends in the middle of a row."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
