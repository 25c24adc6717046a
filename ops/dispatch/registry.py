"""Which backends exist, which can run a call, and which one is chosen.

Choosing never hides anything: ``"auto"`` takes the first that can run, a named backend runs or raises.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ops.dispatch.backend import Backend
from ops.dispatch.operators import OPERATORS
from ops.dispatch.order import measured_order
from ops.dispatch.problem import Problem
from ops.errors import ArgumentError, BackendUnavailable, unknown_name


@dataclass(frozen=True)
class BackendStatus:
    """A registered backend as listed by :func:`backends`.

    Args:
        name: Its name.
        available: It can run something on this machine.
        reasons: Why it cannot run anything; empty if it can.
        summary: One line about it.
        operators: The operators that it has, each with the reasons why it cannot run on this machine.
    """

    name: str
    available: bool
    reasons: tuple[str, ...]
    summary: str
    operators: dict[str, tuple[str, ...]]


class Choice(NamedTuple):
    """What runs a call: a backend, and the operator or part of it that the backend does (see ``Operator.part``)."""

    backend: Backend
    operator: str
    run: Callable[..., Tensor]


_REGISTRY: dict[str, Backend] = {}
_BEFORE: dict[str, str] = {}  # by name: the backend ahead of which "auto" tries it
_GENERATION = [0]  # counts registrations, so that whoever keeps a choice knows when it is stale


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
    """List every backend with its operators, and the reasons why something cannot run on this machine."""

    def status(b: Backend) -> BackendStatus:
        operators = {name: b.missing or b.operators[name].failure for name in OPERATORS if name in b.operators}
        available = not all(operators.values())
        reasons = () if available else tuple(dict.fromkeys(r for found in operators.values() for r in found))
        return BackendStatus(b.name, available, reasons, b.summary, operators)

    return tuple(status(b) for b in _REGISTRY.values())


def backend_lacks(name: str, operator: str) -> str | None:
    """Return why a named backend never runs an operator: it does not have it. None if it has, and for ``"auto"``."""
    if check_backend_name(name) == "auto" or _REGISTRY[name].has(operator):
        return None
    others = [other for other, backend in _REGISTRY.items() if backend.has(operator)]
    need = " or ".join(map(repr, others)) if others else "a backend that has"
    return f"got no {operator!r} ({OPERATORS[operator].what}) in backend {name!r}; need {need}"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make ``name`` the backend of every call inside the block, and in its thread, that asks for ``"auto"``.

    It holds for the operators that the backend has (see :func:`ops.backends`): inside ``use_backend("cupy")`` a dense
    convolution is still chosen by the library, while a depthwise one runs on ``cupy`` or raises
    :class:`ops.BackendUnavailable`. A call that names a backend of its own is not touched.

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
    """Return what a choice by :func:`select` depends on besides its arguments."""
    return _CHOSEN.name, _GENERATION[0]


def select(problem: Problem, name: str = "auto") -> Choice:
    """Choose what runs ``problem``.

    Args:
        problem: The call.
        name: A registered name, or ``"auto"``: the one of :func:`use_backend` if it has the operator, else the first
            that can run.

    Raises:
        ArgumentError: Unknown name.
        BackendUnavailable: The named backend lacks the operator or cannot run the problem (all reasons are listed),
            or none can.
    """
    if name == "auto" and _CHOSEN.name != "auto" and _REGISTRY[_CHOSEN.name].has(problem.operator):
        name = _CHOSEN.name
    if name == "auto":
        for backend in _in_order(problem):
            operator, reasons = _prepared_stage(backend, problem)
            if not reasons:
                return Choice(backend, operator, backend.operators[operator].run)
        raise BackendUnavailable("no backend can run this call:\n" + describe(problem))
    missing = backend_lacks(name, problem.operator)
    if missing is not None:
        raise BackendUnavailable(f"backend {name!r} cannot run this call: {missing}")
    backend = _REGISTRY[name]
    operator, reasons = _prepared_stage(backend, problem)
    if reasons:
        raise BackendUnavailable(f"backend {name!r} cannot run this call: " + "; ".join(reasons))
    return Choice(backend, operator, backend.operators[operator].run)


def select_backend(problem: Problem, name: str = "auto") -> Backend:
    """Return the backend that runs ``problem``; arguments and errors as :func:`ops.dispatch.registry.select`."""
    return select(problem, name).backend


def prepare_backend(name: str) -> None:
    """Do what a backend does before its first run, such as compiling, for all of its operators.

    Raises:
        ArgumentError: No such backend.
        BackendUnavailable: It lacks something on this machine, or a preparation failed; lists every reason.
    """
    if check_backend_name(name) == "auto":
        raise ArgumentError("backend", "'auto'", "one of " + ", ".join(map(repr, _REGISTRY)))
    backend = _REGISTRY[name]
    for implementation in () if backend.missing else backend.operators.values():
        if implementation.prepare is not None:
            implementation.prepare.make()
    reasons = backend.missing or tuple(dict.fromkeys(r for i in backend.operators.values() for r in i.failure))
    if reasons:
        raise BackendUnavailable(f"backend {name!r} cannot be made ready: " + "; ".join(reasons))


def _in_order(problem: Problem) -> list[Backend]:
    """Return the backends that have the operator in the order of ``"auto"``.

    The built-in ones stand as measured, others where they asked to be.
    """
    names = [name for name in measured_order(problem) if name in _REGISTRY]
    names += [name for name in _REGISTRY if name not in names and name not in _BEFORE]
    # Whoever stands before another one is also listed before it; of two before the same, the later one stands nearer.
    for name in reversed(_REGISTRY):
        if name in _BEFORE:
            place = names.index(_BEFORE[name]) if _BEFORE[name] in names else len(names)
            while place > 0 and _BEFORE.get(names[place - 1]) == _BEFORE[name]:
                place -= 1
            names.insert(place, name)
    return [_REGISTRY[name] for name in names if _REGISTRY[name].has(problem.operator)]


def _prepared_stage(backend: Backend, problem: Problem) -> tuple[str, tuple[str, ...]]:
    """Return :meth:`Backend.stage`, what it needs made ready at its first use."""
    operator, reasons = backend.stage(problem)
    if not reasons and not _ready(backend.name, operator):
        return backend.stage(problem)  # with the reason of the failure, or by a part that needs none of it
    return operator, reasons


@torch.compiler.assume_constant_result
def _ready(name: str, operator: str) -> bool:
    """Prepare an operator of a backend at its first use, while tracing too, and say whether it can run."""
    preparation = _REGISTRY[name].operators[operator].prepare
    if preparation is None:
        return True
    if preparation.make():
        warnings.warn(f"backend {name!r} is not available: {preparation.failure}", stacklevel=2)
    return preparation.failure is None


def describe(problem: Problem) -> str:
    """Return one line per backend: whether it can run ``problem``, and if not, why."""
    lines = []
    for backend in _in_order(problem):
        _, reasons = backend.stage(problem)
        lines.append(f"  {backend.name}: " + ("; ".join(reasons) if reasons else "can run"))
    lines += [f"  {name}: has no {problem.operator}" for name, b in _REGISTRY.items() if not b.has(problem.operator)]
    return "\n".join(lines)
