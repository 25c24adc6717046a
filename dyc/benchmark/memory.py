"""How much memory a call takes at its peak."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """Return how many bytes PyTorch's allocator holds at the peak of a call, above what it held before.

    Counted are outputs, temporaries and what is kept for the backward pass, in the order of allocation and release.
    On CUDA it is the caching allocator's own record (``torch.cuda.max_memory_allocated``). On the CPU, where PyTorch
    keeps none, every allocation and release that the profiler reports is summed up: that of tensors, oneDNN's
    scratchpads included, but not what C++ code takes from the system by itself, and not the rounding of either.

    Args:
        call: Called once, after at least one call that warmed it up. It must not release what was allocated before:
            the CPU's profiler would not see that.
        device: ``"cpu"`` or ``"cuda"``.

    Example:
        >>> peak_bytes(lambda: torch.empty(1000).sum()) >= 4000
        True
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else the profiler writes two lines for every use
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
