"""Backends of other installed distributions, found through their entry points."""

import warnings
from importlib.metadata import entry_points

from torch import Tensor

from ops.dispatch.backend import Backend, Implementation
from ops.dispatch.operators import OPERATORS
from ops.dispatch.registry import backends, register_backend
from ops.errors import BackendUnavailable

GROUP = "dyc.ops_backends"


def load_entry_points() -> None:
    """Register the backends of installed distributions (entry-point group ``dyc.ops_backends``).

    Each entry point names a :class:`Backend`. One that fails to load is listed with its reason, and warned of.
    """
    for entry in entry_points(group=GROUP):
        try:
            register_backend(entry.load())
        except Exception as error:
            warnings.warn(f"backend {entry.name!r} of {entry.value!r} failed to load: {error}", stacklevel=2)
            broken = f"failed to load from {entry.value!r}: {error}"
            if entry.name not in {status.name for status in backends()}:
                operators = dict.fromkeys(OPERATORS, Implementation(_cannot_run))  # which it has is not known
                register_backend(Backend(entry.name, operators, missing=(broken,)))


def _cannot_run(*_: object) -> Tensor:
    raise BackendUnavailable("this backend failed to load")
