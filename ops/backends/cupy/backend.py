"""CUDA C++ for NVIDIA GPUs, compiled by NVRTC through CuPy at first use.

Neither memory format is converted, sums are float32 whatever is stored, and there are no atomics: the same call gives
the same bits. Without gradients the bank is mixed inside the kernel and the mixed kernels never exist in memory.

A launch goes straight to the driver with PyTorch's current stream, and all memory is PyTorch's. So a CUDA graph can
record it; the first call of a kind, which compiles and loads, must come before the recording, as in any warm-up.
"""

import threading
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

import ops.backends.cupy.bank  # noqa: F401  (defines the operator)
from ops.backends.cupy import calls
from ops.backends.cupy.kernels import Kernel, program
from ops.backends.cupy.nvrtc import architecture_for, compiled, nvrtc
from ops.backends.cupy.plan import Call
from ops.backends.library import LIBRARY, depthwise
from ops.dispatch.backend import Backend, Implementation, Preparation
from ops.dispatch.operators import DEPTHWISE, DYNAMIC_DEPTHWISE
from ops.dispatch.problem import Problem
from ops.errors import BackendUnavailable
from ops.window import Window


def missing(version: str | None, has_cupy: bool, has_device: bool) -> tuple[str, ...]:
    """Return what a machine lacks.

    Args:
        version: The CUDA version of PyTorch, None if it was built without.
        has_cupy: CuPy is installed.
        has_device: PyTorch sees a CUDA device.
    """
    reasons = []
    if not has_cupy:
        # CuPy has one package for each major version of CUDA; any that the driver supports will do.
        fitting = f"cupy-cuda{version.split('.')[0]}x" if version else "cupy-cuda13x` or `pip install cupy-cuda12x"
        reasons.append(f"got no CuPy; need `pip install {fitting}`")
    if not has_device:
        build = "a PyTorch built without CUDA" if version is None else "no CUDA device"
        reasons.append(f"got {build}; need an NVIDIA GPU, its driver, and a CUDA build of PyTorch")
    return tuple(reasons)


_MISSING = missing(torch.version.cuda, find_spec("cupy") is not None, torch.cuda.is_available())


def unmet(problem: Problem) -> tuple[str, ...]:
    """Return why the CUDA kernels cannot run a problem."""
    return problem.unmet(("cuda",), tuple(calls.STORAGE))


def unmet_bank(problem: Problem) -> tuple[str, ...]:
    """Return why the bank cannot be mixed inside the kernel; the mixed kernels may still be made first."""
    reasons = unmet(problem)
    # With gradients the mixed kernels are needed a second time, so they are made once and kept.
    return (*reasons, "got gradients, which need the mixed kernels") if problem.needs_grad else reasons


def prepare() -> None:
    """Import CuPy and find its compiler."""
    try:
        import cupy  # noqa: F401
    except Exception as error:  # an installation that does not fit fails in more ways than ImportError
        raise BackendUnavailable(
            f"got a CuPy that cannot be imported ({error}); need a CuPy built for this version of CUDA"
        ) from error
    nvrtc()


class Device:
    """A GPU: its compiled kernels, and how to start one."""

    def __init__(self, index: int) -> None:
        from cupy.cuda import driver, function, runtime

        properties = torch.cuda.get_device_properties(index)
        self.index, self.processors = index, properties.multi_processor_count
        self.architecture = architecture_for((properties.major, properties.minor))
        self._new_module, self._start, self._touch = function.Module, driver.launchKernel, runtime.memGetInfo
        self._entered = threading.local()
        self._functions: dict[str, object] = {}

    def load(self, kernel: Kernel):
        """Return the kernel's function on this device, which must be the current one."""
        module = self._new_module()
        module.load(compiled(kernel.name, program([kernel]), self.architecture))
        self._functions[kernel.name] = found = module.get_function(kernel.name)
        return found

    def launch(self, kernel: Kernel, grid: int, threads: int, shared: int, call: Call) -> None:
        """Start a kernel on PyTorch's current stream of this device."""
        if not hasattr(self._entered, "yes"):
            self._touch()  # the driver takes no launch from a thread that has not used the device in any other way
            self._entered.yes = True
        function = self._functions.get(kernel.name) or self.load(kernel)
        stream = torch.cuda.current_stream(self.index).cuda_stream
        kept, arguments = calls.launch_arguments(call)
        self._start(function.ptr, grid, 1, 1, threads, 1, 1, shared, stream, arguments, 0)
        del kept  # the driver has copied it


@cache
def _device(index: int) -> Device:
    return Device(index)


def _implement(name: str, function) -> None:
    def call(features: Tensor, *others):
        gpu = _device(features.device.index)
        if torch.cuda.current_device() == gpu.index:
            return function(features, *others, gpu=gpu)
        with torch.cuda.device(gpu.index):
            return function(features, *others, gpu=gpu)

    torch.library.impl(f"dyc::{name}", "cuda", call, lib=LIBRARY)


_implement("depthwise", calls.forward)
_implement("depthwise_bank", calls.forward_bank)
_implement("depthwise_grad_input", calls.grad_input)
_implement("depthwise_grad_weight", calls.grad_weight)


def run_depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Convolve ``(B, C, H, W)`` with ``(B, C, kH, kW)``; see :func:`ops.depthwise_conv2d`."""
    return depthwise(x, weight, window)


def run_bank(x: Tensor, bank: Tensor, attention: Tensor, window: Window) -> Tensor:
    """Mix the bank ``(K, C, kH, kW)`` by ``(B, K)`` or ``(B, K, C)`` and convolve at once."""
    return torch.ops.dyc.depthwise_bank(x, bank, attention, *window)


_KERNELS = Preparation(prepare)

CUPY = Backend(
    "cupy",
    {
        DEPTHWISE: Implementation(run_depthwise, unmet, _KERNELS),
        DYNAMIC_DEPTHWISE: Implementation(run_bank, unmet_bank, _KERNELS),
    },
    summary="CUDA C++ for NVIDIA GPUs, compiled at first use",
    missing=_MISSING,
)
