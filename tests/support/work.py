"""How much work a call does, in numbers that do not depend on how busy the machine is."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """Python functions called; operators of PyTorch run, the elements that they returned, and their operations."""

    calls: int
    operators: int
    elements: int
    flops: int


class _Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.count += 1
        self.elements += sum(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor) and not t.is_meta)
        return result


def work(function: Callable[[], object]) -> Work:
    """Run ``function`` twice: once under a profiler of Python, once under counters of operators."""
    calls, former = 0, sys.getprofile()

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(former)
    with FlopCounterMode(display=False) as flops, _Operators() as operators:
        function()
    return Work(calls, operators.count, operators.elements, flops.get_total_flops())
