"""The order in which ``"auto"`` tries the built-in backends: what was measured, in one place."""

import torch

from ops.dispatch.operators import FEATURE_MIXING, PER_SAMPLE, REWIRE
from ops.dispatch.problem import Problem


def measured_order(problem: Problem) -> tuple[str, ...]:
    """Return the names of the built-in backends, the fastest for this problem first.

    On the CPU (two cores of an AMD EPYC with AVX-512, torch 2.15; ``dyc bench ops`` for 3x3, the same comparison of
    ``cpp`` with ``eager`` for 5x5 to 9x9 and dilation 2, in float32 and bfloat16): with gradients ``cpp`` took 0.03 to
    0.93 of the time of ``eager`` in every case; without, up to 1.04 for the kernels that have code of their own there,
    and up to 3.7 for others, on NCHW batches above all. ``compile`` beat ``eager`` in places, ``cpp`` nowhere.
    Re-wired channels are one pass over the features in ``cpp`` and several in ``eager``. Dense convolutions and mixed
    feature maps are PyTorch's own, in ``eager`` alone.

    On the GPU (H200, torch 2.11, the depthwise layers of MobileNetV2, channels_last): ``cupy`` took 0.42 of the time
    of ``eager`` without gradients and 0.61 with them (32 pixels, batch 256, bfloat16), 0.53 and 1.03 at 224 pixels,
    batch 32, float32. On NCHW neither was ahead everywhere, so PyTorch's own stands first there.

    An exported or traced program holds PyTorch's own operators only, so that it runs where this package is not
    installed.
    """
    leaves = torch.compiler.is_exporting() or (not torch.compiler.is_compiling() and torch.jit.is_tracing())
    if leaves or problem.operator in (PER_SAMPLE, FEATURE_MIXING):
        return ("eager",)
    if problem.device == "cuda" and problem.channels_last and problem.operator != REWIRE:
        return ("cupy", "eager")
    if problem.device != "cpu":
        return ("eager",)
    if problem.operator == REWIRE or problem.needs_grad or _is_usual(problem) or _suits_general_code(problem):
        return ("cpp", "eager")
    return ("eager", "cpp")


def _is_usual(problem: Problem) -> bool:
    """Tell whether the C++ code has a kernel of its own: 3x3 and 5x5, stride 1 and 2, no dilation."""
    window, kernels, strides = problem.window, ((3, 3), (5, 5)), ((1, 1), (2, 2))
    return problem.kernel in kernels and window.stride in strides and window.dilation == (1, 1)


def _suits_general_code(problem: Problem) -> bool:
    """Tell whether the C++ code for any kernel was faster without gradients, over images of 8 to 112 pixels."""
    taps = problem.kernel[0] * problem.kernel[1]
    return taps <= 49 if problem.channels_last else problem.batch == 1
