"""What the user can put right is one line: find it in what was raised."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning_modules.disk import disk_error, is_of_the_disk
from lightning_modules.ended_worker import ended_worker, is_ended_worker
from lightning_modules.errors import ArgumentError, BackendUnavailable

NEEDED = ("torch", "timm", "lightning")
"""Packages that are missing only where this one was installed without what it needs."""


def user_error(error: BaseException) -> str | None:
    """Return the line for an error that the user can put right; None for any other, whose traceback is needed.

    The cause may be wrapped: in an error of the parser, of Lightning, or of a process that loads data.
    """
    for cause in _causes(error):
        if isinstance(cause, ArgumentError):
            return _innermost(str(cause))
        if isinstance(cause, BackendUnavailable):
            return str(cause)
        if is_of_the_disk(cause):
            return disk_error(cause)  # LastCheckpoint says how to go on with a training
        if is_ended_worker(cause):
            return ended_worker(cause)
        if isinstance(cause, ModuleNotFoundError) and cause.name in NEEDED:
            return f"{cause.name} is not installed, which all commands need but `dyc predict` with an ONNX file"
        if type(cause).__name__ == "MisconfigurationException":  # importing Lightning to compare classes takes seconds
            return f"trainer: {_one_line(cause)}"
    return None


def said_by_another(error: BaseException) -> bool:
    """Tell whether another of several processes says the same: the first of a machine speaks for those beside it.

    Until the processes are joined, all of them do the same. After that, what goes wrong may go wrong in one alone.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return False
    import torch.distributed

    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not joined or any(getattr(cause, "on_every_process", False) for cause in _causes(error))


def first_of_all() -> bool:
    """Tell whether this is the first process of the first machine, before a ``Trainer`` knows."""
    from lightning.pytorch.utilities import rank_zero_only

    # What Lightning starts on another machine has no rank yet, but the number of the machine.
    return rank_zero_only.rank == 0 and os.environ.get("NODE_RANK", "0") == "0"


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

    if options["accumulate_grad_batches"] < 1:  # Lightning divides by it
        raise ArgumentError("trainer.accumulate_grad_batches", options["accumulate_grad_batches"], "at least 1")
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
