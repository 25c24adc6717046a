"""Which backend would run a call of an operator, and why each other one would not."""

from collections.abc import Callable

from torch import Tensor

from ops.attended import attended_conv2d, attended_problem
from ops.dispatch.problem import Problem
from ops.dispatch.selection import describe, select_backend
from ops.errors import ArgumentError
from ops.functional import (
    depthwise_call,
    depthwise_conv2d,
    dynamic_call,
    dynamic_conv2d,
    per_sample_call,
    per_sample_conv2d,
)
from ops.rewiring import rewire_call, rewire_channels

_ASKS_FOR_MIXING = (dynamic_conv2d, per_sample_conv2d, attended_conv2d)
_PROBLEMS: dict[Callable[..., Tensor], Callable[..., Problem]] = {
    depthwise_conv2d: lambda *args, **kwargs: depthwise_call(*args, **kwargs)[0],
    per_sample_conv2d: lambda *args, **kwargs: per_sample_call(*args, **kwargs)[0],
    dynamic_conv2d: lambda *args, **kwargs: dynamic_call(*args, **kwargs).problem,
    attended_conv2d: attended_problem,
    rewire_channels: lambda *args, **kwargs: rewire_call(*args, **kwargs)[0],
}


def explain(*args: object, backend: str = "auto", **kwargs: object) -> str:
    """Say which backend would run a call, and why each other one would not; the call itself is not made.

    Args:
        args: An operator of ``ops``, such as :func:`ops.dynamic_conv2d`, and what it is called with. Without an
            operator, as in ``explain(x, weight)``, it is :func:`ops.depthwise_conv2d`.
        kwargs: What it is called with by name.
        backend: ``"auto"`` or a registered name.

    Raises:
        ArgumentError: Not one of the operators, or arguments that it refuses.
        BackendUnavailable: The named backend cannot run this call; lists every reason.

    Example:
        >>> import torch
        >>> print(explain(torch.randn(2, 8, 5, 5), torch.randn(2, 8, 3, 3), backend="eager").splitlines()[0])
        backend 'eager' runs this call
        >>> print(explain(dynamic_conv2d, torch.randn(2, 8, 5, 5), torch.randn(4, 6, 8, 1, 1), torch.rand(2, 4)))
        backend 'eager' runs this call
          eager: can run
          cpp: has no per_sample_conv2d
          compile: has no per_sample_conv2d
          cupy: has no per_sample_conv2d
    """
    operator, *args = args if args and callable(args[0]) else (depthwise_conv2d, *args)
    if operator not in _PROBLEMS:
        got = getattr(operator, "__name__", repr(operator))
        raise ArgumentError("operator", got, "one of " + ", ".join(f"ops.{known.__name__}" for known in _PROBLEMS))
    if operator in _ASKS_FOR_MIXING:  # what is mixed depends on what the backend has
        kwargs["backend"] = backend
    problem = _PROBLEMS[operator](*args, **kwargs)
    return f"backend {select_backend(problem, backend).name!r} runs this call\n{describe(problem)}"
