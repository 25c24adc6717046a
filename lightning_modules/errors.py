"""The errors of ``ops``, for what runs without PyTorch: importing ``ops`` itself would load it."""

from lightning_modules.alone import load_alone

_errors = load_alone("ops/errors.py", "ops.errors")

ArgumentError = _errors.ArgumentError
BackendUnavailable = _errors.BackendUnavailable
unknown_name = _errors.unknown_name
