"""What the user can put right is one line: find it in what was raised."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ops import ArgumentError, BackendUnavailable


def user_error(error: BaseException) -> str | None:
    """Return the line for an error that the user can put right; None for any other, whose traceback is needed.

    The cause may be wrapped: in an error of the parser, of Lightning, or of a process that loads data.
    """
    for cause in _causes(error):
        if isinstance(cause, ArgumentError):
            return _innermost(str(cause))
        if isinstance(cause, BackendUnavailable):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f" for {cause.filename!r}" if cause.filename else ""
            return f"{cause.strerror}{place}; free some space, and resume with --ckpt_path last"
        if type(cause).__name__ == "MisconfigurationException":  # importing Lightning to compare classes takes seconds
            return f"trainer: {_one_line(cause)}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _innermost(message: str) -> str:
    """Return the message of an ArgumentError; a process that loads data hands it on at the end of its traceback."""
    if message.startswith("Caught ArgumentError in "):
        return message.rpartition("ArgumentError: ")[2].strip()
    return message


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def refusals_of_the_trainer(options: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a ``Trainer`` raises for its arguments, ``options``, into an ArgumentError."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except ArgumentError:
        raise
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        accelerator, there = options["accelerator"], accelerators()
        if isinstance(accelerator, str) and accelerator not in (*there, "auto"):
            got = f"{accelerator!r} ({_one_line(error)})"
            raise ArgumentError("trainer.accelerator", got, f"auto or one of {', '.join(there)}") from error
        raise ArgumentError("trainer", sentence=_one_line(error)) from error


def accelerators() -> list[str]:
    """Return the names of the accelerators that this machine has."""
    from lightning.pytorch.accelerators import AcceleratorRegistry

    known = sorted(AcceleratorRegistry.available_accelerators())
    found = [name for name in known if AcceleratorRegistry[name]["accelerator"].is_available()]
    return [*found, "gpu"] if {"cuda", "mps"} & set(found) else found
