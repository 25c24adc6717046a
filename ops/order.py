"""The order in which ``"auto"`` tries the built-in backends: what was measured, in one place."""

import torch

from ops.problem import Problem


def measured_order(problem: Problem) -> tuple[str, ...]:
    """Return the names of the built-in backends, the fastest for this problem first.

    On the CPU ``cpp`` was the fastest in both memory formats, at batch 1 and 32, forward and backward (``dyc bench
    ops``, README). Nothing was measured on a GPU yet: there the plain formulation, whose kernels are cuDNN's, stands
    first. An exported or traced program holds PyTorch's own operators only, so that it runs where this package is not
    installed.
    """
    leaves = torch.compiler.is_exporting() or (not torch.compiler.is_compiling() and torch.jit.is_tracing())
    if problem.device == "cpu" and not leaves:
        return ("cpp", "eager")
    return ("eager",)
