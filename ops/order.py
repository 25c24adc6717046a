"""The order in which ``"auto"`` tries the built-in backends: what was measured, in one place."""

from ops.problem import Problem


def measured_order(problem: Problem) -> tuple[str, ...]:
    """Return the names of the built-in backends, the fastest for this problem first.

    On the CPU by ``dyc bench ops`` (README). Nothing was measured on a GPU yet: there the plain formulation, whose
    kernels are cuDNN's, stands first.
    """
    if problem.device == "cpu":
        return ("eager", "cpp")
    return ("eager",)
