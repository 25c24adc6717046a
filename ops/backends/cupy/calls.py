"""The operators on tensors: outputs in PyTorch's own memory, and a plan for each call, run by whoever can launch it."""

import ctypes
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from ops.backends.cupy.kernels import THREADS, Kernel, sum_kernel
from ops.backends.cupy.plan import Call, Plan, Task, plan
from ops.layout import is_channels_last, laid_out, memory_format
from ops.window import Pair, Window

STORAGE = {torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat"}


class Gpu(Protocol):
    """What launches: a GPU, or the CPU in its place in tests."""

    processors: int

    def launch(self, kernel: Kernel, grid: int, threads: int, shared: int, call: Call) -> None:
        """Start a kernel on the current stream."""


@lru_cache(maxsize=4096)  # a plan takes longer than a launch; a network has some tens of them per batch size
def _plan(task: Task, processors: int) -> Plan:
    return plan(task, processors)


def _run(task: Task, gpu: Gpu, *, out: Tensor, **addresses: int) -> None:
    if out.numel() == 0:  # a GPU launches no grid of no blocks
        return
    found = _plan(task, gpu.processors)
    call = Call.from_buffer_copy(found.call)  # a copy, since another thread may use the same plan
    for name, address in addresses.items():
        setattr(call, name, address)
    if not found.parts:
        call.out = out.data_ptr()
        gpu.launch(found.kernel, found.grid, found.threads, found.shared, call)
        return
    parts = torch.empty(found.parts, dtype=torch.float32, device=out.device)
    call.out = parts.data_ptr()
    gpu.launch(found.kernel, found.grid, found.threads, found.shared, call)
    total = Call(out=out.data_ptr(), splits=call.splits, batch=call.batch, channels=call.channels)
    setattr(total, "in", parts.data_ptr())
    total.kernel_h, total.kernel_w = call.kernel_h, call.kernel_w
    gpu.launch(sum_kernel(task.storage), min(-(-out.numel() // THREADS), 2**20), THREADS, 0, total)


def _task(kind: str, last: bool, tensors: tuple[Tensor, Tensor], size, out, kernel, window: Window, *others) -> Task:
    first, second = tensors
    aligned = (first.data_ptr() | second.data_ptr()) % 8 == 0
    batch, channels = first.shape[:2]
    return Task(kind, STORAGE[first.dtype], last, aligned, batch, channels, size, out, kernel, window, *others)


def _features(x: Tensor) -> tuple[Tensor, bool]:
    """Return features that the GPU can read, and whether they are channels_last; slices are copied."""
    if x.is_contiguous():
        return x, False
    last = is_channels_last(x)
    return laid_out(x, last), last


def _kernels(weight: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """Return kernels ``(N, C, kH, kW)`` that the GPU can read, with their strides by sample, channel and tap."""
    _, channels, height, width = weight.shape
    taps = height * width
    if not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last):
        return weight, (channels * taps, 1, channels)
    return weight.contiguous(), (channels * taps, taps, 1)


def _empty(like: Tensor, size: Pair, last: bool) -> Tensor:
    shape = (*like.shape[:2], *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format(last))


def _window(stride, padding, dilation) -> Window:
    """Return the lists that PyTorch hands to an operator as a window."""
    return Window(tuple(stride), tuple(padding), tuple(dilation))


@lru_cache(maxsize=4096)
def _output_size(window: Window, size: Pair, kernel: Pair) -> Pair:
    return window.output_size(size, kernel)


def forward(x: Tensor, weight: Tensor, *window: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise``: ``(B, C, H, W)`` and ``(B, C, kH, kW)`` to ``(B, C, H', W')``."""
    weight, strides = _kernels(weight)
    return _forward(x, weight, _window(*window), gpu, (*strides, 0))


def forward_bank(x, bank, attention, *window: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_bank``: a bank ``(K, C, kH, kW)``, mixed by ``(B, K)`` or ``(B, K, C)`` meanwhile."""
    bank, (each, channel, tap) = _kernels(bank)
    mixture = (*attention.stride(), 0)[:3], bank.shape[0]
    strides, address = (0, channel, tap, each), attention.data_ptr()
    return _forward(x, bank, _window(*window), gpu, strides, *mixture, attention=address)


def _forward(x: Tensor, weight: Tensor, window: Window, gpu: Gpu, *others, **addresses: int) -> Tensor:
    x, last = _features(x)
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    out = _output_size(window, size, kernel)
    y = _empty(x, out, last)
    task = _task("forward", last, (x, y), size, out, kernel, window, *others)
    _run(task, gpu, out=y, kernels=weight.data_ptr(), **{"in": x.data_ptr()}, **addresses)
    return y


def grad_input(grad, weight, size: Pair, *window: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_grad_input``: ``(B, C, H', W')`` and ``(B, C, kH, kW)`` to ``(B, C, *size)``."""
    (grad, last), (weight, strides) = _features(grad), _kernels(weight)
    gx, out, kernel = _empty(grad, size, last), tuple(grad.shape[2:]), tuple(weight.shape[2:])
    task = _task("input", last, (grad, gx), tuple(size), out, kernel, _window(*window), (*strides, 0))
    _run(task, gpu, out=gx, kernels=weight.data_ptr(), **{"in": grad.data_ptr()})
    return gx


def grad_weight(grad, x, kernel: Pair, *window: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_grad_weight``: ``(B, C, H', W')`` and ``(B, C, H, W)`` to ``(B, C, *kernel)``."""
    x, last = _features(x)
    grad = laid_out(grad, last)
    gw, taps, channels = _empty(x, kernel, last), kernel[0] * kernel[1], x.shape[1]
    strides = (channels * taps, 1, channels, 0) if last else (channels * taps, taps, 1, 0)
    sizes = tuple(x.shape[2:]), tuple(grad.shape[2:]), tuple(kernel)
    task = _task("weight", last, (x, grad), *sizes, _window(*window), strides)
    _run(task, gpu, out=gw, grad=grad.data_ptr(), **{"in": x.data_ptr()})
    return gw


def launch_arguments(call: Call) -> tuple[ctypes.c_void_p, int]:
    """Return the array of addresses that a launch takes (to be kept until then), and its address."""
    array = ctypes.c_void_p(ctypes.addressof(call))
    return array, ctypes.addressof(array)
