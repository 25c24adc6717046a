"""Errors, for what runs without PyTorch: those of ``ops``, whose import would load it, and the texts of others."""

from lightning_modules.alone import load_alone

_errors = load_alone("ops/errors.py", "ops.errors")

ArgumentError = _errors.ArgumentError
BackendUnavailable = _errors.BackendUnavailable
unknown_name = _errors.unknown_name


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of another package says, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
