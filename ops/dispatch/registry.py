"""Which backends exist, in which order they are tried, and what a block of code prefers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ops.dispatch.backend import Backend
from ops.dispatch.operators import FEATURE_MIXING, OPERATORS
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
        operators: The operators that it serves, itself or by a part of them, each with the reasons why it cannot run on
            this machine.
        builds: It can compile ahead of its first use, see :func:`prepare_backend`.
    """

    name: str
    available: bool
    reasons: tuple[str, ...]
    summary: str
    operators: dict[str, tuple[str, ...]]
    builds: bool


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
    global _REGISTRY, _BEFORE
    if not isinstance(backend, Backend):
        raise ArgumentError("backend", repr(backend), "an ops.Backend")
    taken = backend.name in _REGISTRY
    if backend.name == "auto" or (taken and not replace):
        instead = "choose another name" if backend.name == "auto" else "choose another name, or pass replace=True"
        raise ArgumentError("backend.name", sentence=f"{backend.name!r} is taken; {instead}")
    if before is not None:
        if taken:
            raise ArgumentError("before", sentence="places new backends only; leave it out when replacing one")
        if before == "auto":
            raise ArgumentError("before", "'auto'", "the name of a backend")
        check_backend_name(before, argument="before")
    entries, place = {**_REGISTRY, backend.name: backend}, dict(_BEFORE)
    if not taken:
        place.pop(backend.name, None)
    if before is not None:
        place[backend.name] = before
        names = [name for name in entries if name != backend.name]
        names.insert(names.index(before), backend.name)
        entries = {name: entries[name] for name in names}
    # Whole and in this order: another thread that chooses meanwhile must not keep an old choice as a new one.
    _REGISTRY, _BEFORE = entries, place
    _GENERATION[0] += 1


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
        operators = {name: b.lacking(name) for name in OPERATORS if b.has(name)}
        available = not all(operators.values())
        reasons = () if available else tuple(dict.fromkeys(r for found in operators.values() for r in found))
        return BackendStatus(b.name, available, reasons, b.summary, operators, b.build is not None)

    return tuple(status(b) for b in _REGISTRY.values())


def backend_lacks(name: str, operator: str) -> str | None:
    """Return why a named backend never runs an operator: it does not have it. None if it has, and for ``"auto"``."""
    if check_backend_name(name) == "auto" or _REGISTRY[name].has(operator):
        return None
    others = [other for other, backend in _REGISTRY.items() if backend.has(operator)]
    need = " or ".join(map(repr, others)) if others else "a backend that has"
    return f"got no {operator!r} ({OPERATORS[operator].what}) in backend {name!r}; need {need}"


def mixes_kernels_alone(name: str, operator: str) -> bool:
    """Tell whether the backend in force has an operator that mixes kernels, and none that mixes feature maps.

    Args:
        name: What a call or a layer asks for; ``"auto"`` is the backend of :func:`use_backend` where there is one.
        operator: The operator that the call needs where kernels are mixed.
    """
    name = _CHOSEN.name if name == "auto" else name
    return backend_lacks(name, FEATURE_MIXING) is not None and backend_lacks(name, operator) is None


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
    """Return what a choice depends on besides the call: the name of :func:`use_backend`, and the registrations."""
    return _CHOSEN.name, _GENERATION[0]


def registered(name: str) -> Backend:
    """Return the backend of a name; raise :class:`ArgumentError` with suggestions if there is none."""
    if check_backend_name(name) == "auto":
        raise ArgumentError("backend", "'auto'", "one of " + ", ".join(map(repr, _REGISTRY)))
    return _REGISTRY[name]


def prepare_backend(name: str) -> None:
    """Do what a backend does before its first run, such as compiling, for all of its operators.

    What failed at a first use is tried again.

    Raises:
        ArgumentError: No such backend.
        BackendUnavailable: It lacks something on this machine, or a preparation failed; lists every reason.
    """
    backend = registered(name)
    reasons: tuple[str, ...] = backend.missing
    if not reasons and backend.build is not None:
        backend.build()
    for implementation in () if reasons else backend.operators.values():
        if implementation.prepare is not None:
            implementation.prepare.make(again=True)
    _GENERATION[0] += 1  # what failed before may run now
    reasons = reasons or tuple(dict.fromkeys(r for i in backend.operators.values() for r in i.failure))
    if reasons:
        raise BackendUnavailable(f"backend {name!r} cannot be made ready: " + "; ".join(reasons))


def in_order(problem: Problem) -> list[Backend]:
    """Return the backends that have the operator of ``problem``, in the order of ``"auto"``.

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
