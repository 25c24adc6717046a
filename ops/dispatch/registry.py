"""Which backends exist, which can run a call, and which one is chosen.

A backend is data: a name, a function, and a function that lists why it cannot run a given problem.
Choosing never hides anything: ``"auto"`` takes the first that can run, a named backend runs or raises.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ops.dispatch.order import measured_order
from ops.dispatch.problem import Pair, Problem
from ops.errors import ArgumentError, BackendUnavailable, unknown_name

Run = Callable[[Tensor, Tensor, Pair, Pair, Pair], Tensor]
RunBank = Callable[[Tensor, Tensor, Tensor, Pair, Pair, Pair], Tensor]


def _meets_all(problem: Problem) -> tuple[str, ...]:
    return ()


def _always(problem: Problem) -> bool:
    return True


@dataclass(frozen=True)
class Backend:
    """One implementation of ``depthwise_conv2d``.

    Args:
        name: What users pass as ``backend=``.
        run: ``run(x, weight, stride, padding, dilation)`` with checked arguments; differentiable; returns
            ``(B, C, H', W')`` in the memory format of ``x``.
        unmet: The reasons why it cannot run a :class:`Problem`, each as "got ..., need ..."; empty if it can.
            Called while tracing, so it must not probe the machine.
        summary: One line for listings.
        missing: The reasons why it cannot run anything on this machine, probed once before registration, with
            the install command where one helps.
        prepare: Called once, before the first run, for work that is worth doing only then (such as compiling);
            raises :class:`BackendUnavailable` if it fails.
        run_bank: ``run_bank(x, bank, attention, stride, padding, dilation)`` mixes the bank ``(K, C, kH, kW)`` by the
            attention ``(B, K)`` or ``(B, K, C)`` and convolves, at once; differentiable. Without it the bank is
            mixed first.
        run_branch: ``run_branch(x, weight, branch, stride, padding, dilation)`` computes the attention too, from the
            parameters of a :class:`ops.GlobalBranch`; the bank is ``(K, C, 1, kH, kW)``; differentiable.
        can_branch: Whether ``run_branch`` takes a problem that the backend can run.
    """

    name: str
    run: Run
    unmet: Callable[[Problem], tuple[str, ...]] = _meets_all
    summary: str = ""
    missing: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    run_bank: RunBank | None = None
    run_branch: Callable[..., Tensor] | None = None
    can_branch: Callable[[Problem], bool] = _always

    def reasons(self, problem: Problem) -> tuple[str, ...]:
        """Return every reason why this backend cannot run ``problem``; empty if it can."""
        failed = _FAILED.get(self.name)
        return self.missing or ((failed,) if failed else tuple(self.unmet(problem)))


@dataclass(frozen=True)
class BackendStatus:
    """A registered backend as listed by :func:`backends`."""

    name: str
    available: bool
    reasons: tuple[str, ...]
    summary: str


_REGISTRY: dict[str, Backend] = {}
_BEFORE: dict[str, str] = {}  # by name: the backend ahead of which "auto" tries it
_GENERATION = [0]  # counts registrations, so that whoever keeps a choice knows when it is stale
_FAILED: dict[str, str | None] = {}  # by name, once prepared: why that failed, or None


class _Chosen(threading.local):
    """The name set by :func:`use_backend`, one per thread (torch.compile traces no ContextVar before PyTorch 2.12)."""

    name = "auto"


_CHOSEN = _Chosen()


def register_backend(backend: Backend, *, before: str | None = None, replace: bool = False) -> None:
    """Make ``backend`` selectable by name.

    Args:
        backend: The backend.
        before: Name of the backend ahead of which ``"auto"`` tries this one; last by default, so that a plug-in
            never takes over unasked.
        replace: Allow a name that is taken.

    Raises:
        ArgumentError: Not a :class:`Backend`, the name is taken or reserved, or ``before`` is unknown.
    """
    if not isinstance(backend, Backend):
        raise ArgumentError("backend", repr(backend), "an ops.Backend")
    taken = backend.name in _REGISTRY
    if backend.name == "auto" or (taken and not replace):
        raise ArgumentError("backend.name", repr(backend.name), "a name that is not taken, or replace=True")
    if before is not None:
        if taken or before == "auto":
            got = f"{before!r} for a name that is taken" if taken else repr(before)
            raise ArgumentError("before", got, "the name of another backend, for a new name")
        check_backend_name(before, argument="before")
    _GENERATION[0] += 1
    _FAILED.pop(backend.name, None)
    if taken:
        _REGISTRY[backend.name] = backend
        return
    _BEFORE.pop(backend.name, None)
    if before is None:
        _REGISTRY[backend.name] = backend
        return
    _BEFORE[backend.name] = before
    names = list(_REGISTRY)
    names.insert(names.index(before), backend.name)
    entries = {**_REGISTRY, backend.name: backend}
    _REGISTRY.clear()
    _REGISTRY.update((name, entries[name]) for name in names)


def check_backend_name(name: str, argument: str = "backend") -> str:
    """Return ``name`` if it is ``"auto"`` or registered; raise :class:`ArgumentError` with suggestions if not."""
    if not isinstance(name, str):
        raise ArgumentError(argument, repr(name), "the name of a backend")
    if name != "auto" and name not in _REGISTRY:
        raise unknown_name(argument, name, ["auto", *_REGISTRY])
    return name


def backends() -> tuple[BackendStatus, ...]:
    """List every backend, with the reasons why one cannot run on this machine."""

    def status(b: Backend) -> BackendStatus:
        failed = _FAILED.get(b.name)
        reasons = b.missing or ((failed,) if failed else ())
        return BackendStatus(b.name, not reasons, reasons, b.summary)

    return tuple(status(b) for b in _REGISTRY.values())


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make ``name`` the backend of every call inside the block, and in its thread, that asks for ``"auto"``.

    What is computed later is outside: with activation checkpointing, say, a backward pass after the block computes
    again with the library's choice. :func:`dyc.set_backend` settles it for a model.

    Example:
        >>> with use_backend("eager"):
        ...     pass
    """
    before, _CHOSEN.name = _CHOSEN.name, check_backend_name(name)
    try:
        yield
    finally:
        _CHOSEN.name = before


def chosen_state() -> tuple[str, int]:
    """Return what a choice by :func:`select_backend` depends on besides its arguments."""
    return _CHOSEN.name, _GENERATION[0]


def select_backend(problem: Problem, name: str = "auto") -> Backend:
    """Return the backend that runs ``problem``.

    Args:
        problem: The call.
        name: A registered name, or ``"auto"``: the one of :func:`use_backend`, else the first that can run.

    Raises:
        ArgumentError: Unknown name.
        BackendUnavailable: The named backend cannot run the problem (all reasons are listed), or none can.
    """
    if name == "auto":
        name = _CHOSEN.name
    if name == "auto":
        for backend in _in_order(problem):
            if not backend.reasons(problem) and _ready(backend.name):
                return backend
        raise BackendUnavailable("no backend can run this call:\n" + describe(problem))
    backend = _REGISTRY[check_backend_name(name)]
    reasons = backend.reasons(problem)
    if not reasons and not _ready(name):
        reasons = backend.reasons(problem)
    if reasons:
        raise BackendUnavailable(f"backend {name!r} cannot run this call: " + "; ".join(reasons))
    return backend


def _in_order(problem: Problem) -> list[Backend]:
    """Return every backend in the order of ``"auto"``: the built-in ones as measured, others where they asked to be."""
    names = [name for name in measured_order(problem) if name in _REGISTRY]
    names += [name for name in _REGISTRY if name not in names and name not in _BEFORE]
    # Whoever stands before another one is also listed before it; of two before the same, the later one stands nearer.
    for name in reversed(_REGISTRY):
        if name in _BEFORE:
            place = names.index(_BEFORE[name]) if _BEFORE[name] in names else len(names)
            while place > 0 and _BEFORE.get(names[place - 1]) == _BEFORE[name]:
                place -= 1
            names.insert(place, name)
    return [_REGISTRY[name] for name in names]


@torch.compiler.assume_constant_result
def _ready(name: str) -> bool:
    """Prepare a backend at its first use, while tracing too, and say whether it can run."""
    backend = _REGISTRY[name]
    if backend.prepare is None:
        return True
    if name not in _FAILED:
        try:
            backend.prepare()
            _FAILED[name] = None
        except BackendUnavailable as error:
            _FAILED[name] = str(error)
            warnings.warn(f"backend {name!r} is not available: {error}", stacklevel=2)
    return _FAILED[name] is None


def describe(problem: Problem) -> str:
    """Return one line per backend: whether it can run ``problem``, and if not, why."""
    lines = []
    for backend in _in_order(problem):
        reasons = backend.reasons(problem)
        lines.append(f"  {backend.name}: " + ("; ".join(reasons) if reasons else "can run"))
    return "\n".join(lines)
