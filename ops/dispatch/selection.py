"""Which backend runs a call.

Choosing never hides anything: ``"auto"`` takes the first that can run, a named backend runs or raises.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ops import no_samples
from ops.dispatch.backend import Backend
from ops.dispatch.operators import DEPTHWISE, DYNAMIC_DEPTHWISE, FEATURE_MIXING, PER_SAMPLE
from ops.dispatch.problem import Problem
from ops.dispatch.registry import backend_lacks, backends, check_backend_name, chosen_state, in_order, registered
from ops.errors import BackendUnavailable


class Choice(NamedTuple):
    """What runs a call: a backend, and the operator or part of it that the backend does (see ``Operator.part``)."""

    backend: Backend
    operator: str
    run: Callable[..., Tensor]


# Compiled kernels need a sample, and plain formulas make groups of the batch, at least one.
_OF_NO_SAMPLES = {
    DEPTHWISE: no_samples.depthwise,
    DYNAMIC_DEPTHWISE: no_samples.dynamic_depthwise,
    PER_SAMPLE: no_samples.per_sample,
    FEATURE_MIXING: no_samples.feature_mixing,
}
_CHOICES: dict[tuple, Choice] = {}  # choosing anew would take longer than a small convolution
_MOST_CHOICES = 4096


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
    if _in_a_program():
        return _select(problem, name)
    key = (problem, name, chosen_state())
    try:
        found = _CHOICES.get(key)
    except TypeError:  # a symbolic size has no hash
        return _select(problem, name)
    if found is None:
        found = _select(problem, name)
        if len(_CHOICES) >= _MOST_CHOICES:
            _CHOICES.clear()
        _CHOICES[key] = found
    return found


def _in_a_program() -> bool:
    """Tell whether a compiler or tracer looks on: what is chosen then may differ, and sizes may be symbols."""
    return torch.compiler.is_compiling() or torch.compiler.is_exporting() or torch.jit.is_tracing()


def _select(problem: Problem, name: str) -> Choice:
    preferred, _ = chosen_state()
    check_backend_name(name)
    if name == "auto" and backend_lacks(preferred, problem.operator) is None:
        name = preferred
    if name == "auto":
        for backend in in_order(problem):
            operator, reasons = _prepared_stage(backend, problem)
            if not reasons:
                return _choice(backend, operator, problem)
        raise BackendUnavailable("no backend can run this call:\n" + describe(problem))
    missing = backend_lacks(name, problem.operator)
    if missing is not None:
        raise BackendUnavailable(f"backend {name!r} cannot run this call: {missing}")
    backend = registered(name)
    operator, reasons = _prepared_stage(backend, problem)
    if reasons:
        raise BackendUnavailable(f"backend {name!r} cannot run this call: " + "; ".join(reasons))
    return _choice(backend, operator, problem)


def _choice(backend: Backend, operator: str, problem: Problem) -> Choice:
    """Return how a backend runs a problem that it can run: where there are no samples, as PyTorch does in its place."""
    run = _OF_NO_SAMPLES.get(operator) if problem.batch == 0 else None
    return Choice(backend, operator, run or backend.operators[operator].run)


def select_backend(problem: Problem, name: str = "auto") -> Backend:
    """Return the backend that runs ``problem``.

    Args:
        problem: The call.
        name: A registered name, or ``"auto"``: the one of :func:`ops.use_backend` if it has the operator, else the
            first that can run.

    Raises:
        ArgumentError: Unknown name.
        BackendUnavailable: The named backend lacks the operator or cannot run the problem, or no backend can.
    """
    return select(problem, name).backend


def _prepared_stage(backend: Backend, problem: Problem) -> tuple[str, tuple[str, ...]]:
    """Return :meth:`Backend.stage`, what it needs made ready at its first use."""
    operator, reasons = backend.stage(problem)
    if not reasons and not _ready(backend.name, operator):
        return backend.stage(problem)  # with the reason of the failure, or by a part that needs none of it
    return operator, reasons


@torch.compiler.assume_constant_result
def _ready(name: str, operator: str) -> bool:
    """Prepare an operator of a backend at its first use, while tracing too, and say whether it can run."""
    preparation = registered(name).operators[operator].prepare
    if preparation is None:
        return True
    if preparation.make():
        warnings.warn(f"backend {name!r} is not available: {preparation.failure}", stacklevel=2)
    return preparation.failure is None


def describe(problem: Problem) -> str:
    """Return one line per backend: whether it can run ``problem``, and if not, why."""
    lines = []
    for backend in in_order(problem):
        operator, reasons = backend.stage(problem)
        by_part = "" if operator == problem.operator else f" (by {operator})"
        lines.append(f"  {backend.name}: " + ("; ".join(reasons) if reasons else f"can run{by_part}"))
    able = {backend.name for backend in in_order(problem)}
    lines += [f"  {status.name}: has no {problem.operator}" for status in backends() if status.name not in able]
    return "\n".join(lines)
