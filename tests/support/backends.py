"""A backend that tells who ran, for tests of the dispatcher."""

import torch

import ops

X, WEIGHT = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 3, 3)
UNIT = ops.Window()


def negated(x, weight, window=UNIT):
    """Compute something that no right backend does, so that a test sees who ran."""
    return -ops.depthwise_conv2d(x, weight, **window._asdict(), backend="eager")


def depthwise(name, unmet=None, prepare=None, **kwargs):
    """Return a backend with that one operator."""
    options = {} if unmet is None else {"unmet": unmet}
    return ops.Backend(name, {"depthwise_conv2d": ops.Implementation(negated, prepare=prepare, **options)}, **kwargs)


def names() -> list[str]:
    return [status.name for status in ops.backends()]


def able(operator: str) -> list[str]:
    """List the backends that run an operator here, by a part of it too, plug-ins included: for lists of cases."""
    return [status.name for status in ops.backends() if status.operators.get(operator) == ()]


def automatic() -> str:
    """Name the backend that runs ``depthwise_conv2d(X, WEIGHT)``."""
    return ops.select_backend(ops.Problem.of("depthwise_conv2d", X, WEIGHT, kernel=(3, 3))).name


def fail(*_):
    """Run what must not run."""
    raise AssertionError
