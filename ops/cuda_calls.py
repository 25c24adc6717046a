"""The operators on tensors: outputs in PyTorch's own memory, and a plan for each call, run by whoever can launch it."""

import ctypes
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from ops.checks import is_channels_last
from ops.cuda_kernels import THREADS, Kernel, sum_kernel
from ops.cuda_plan import Call, Plan, Task, plan
from ops.library import memory_format
from ops.problem import Pair

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


def _task(kind: str, last: bool, tensors: tuple[Tensor, Tensor], size, out, kernel, window, **others) -> Task:
    first = tensors[0]
    aligned = all(t.data_ptr() % 8 == 0 for t in tensors)
    shape = (*first.shape[:2], tuple(size), tuple(out), tuple(kernel))
    return Task(kind, STORAGE[first.dtype], last, aligned, *shape, *map(tuple, window), **others)


def _empty(like: Tensor, size, last: bool) -> Tensor:
    format_ = torch.channels_last if last else torch.contiguous_format
    return torch.empty((*like.shape[:2], *size), dtype=like.dtype, device=like.device, memory_format=format_)


def _kernels(weight: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """Return kernels ``(N, C, kH, kW)`` that the GPU can read, with their strides by sample, channel and tap."""
    _, channels, height, width = weight.shape
    taps = height * width
    if not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last):
        return weight, (channels * taps, 1, channels)
    return weight.contiguous(), (channels * taps, taps, 1)


def _out_size(size, kernel, window) -> Pair:
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, *window))


def forward(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise``: ``(B, C, H, W)`` and ``(B, C, kH, kW)`` to ``(B, C, H', W')``."""
    weight, strides = _kernels(weight)
    return _forward(x, weight, (stride, padding, dilation), gpu, {"kernel_strides": (*strides, 0)})


def forward_bank(x, bank, attention, stride: Pair, padding: Pair, dilation: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_bank``: a bank ``(K, C, kH, kW)``, mixed by ``(B, K)`` or ``(B, K, C)`` meanwhile."""
    bank, (each, channel, tap) = _kernels(bank)
    strides = {
        "kernel_strides": (0, channel, tap, each),
        "attention_strides": (*attention.stride(), 0)[:3],
        "bank": bank.shape[0],
    }
    return _forward(x, bank, (stride, padding, dilation), gpu, strides, attention=attention.data_ptr())


def _forward(x: Tensor, weight: Tensor, window, gpu: Gpu, strides: dict, **addresses: int) -> Tensor:
    last, kernel = is_channels_last(x), weight.shape[2:]
    x = x.contiguous(memory_format=memory_format(x))
    y = _empty(x, _out_size(x.shape[2:], kernel, window), last)
    task = _task("forward", last, (x, y), x.shape[2:], y.shape[2:], kernel, window, **strides)
    _run(task, gpu, out=y, kernels=weight.data_ptr(), **{"in": x.data_ptr()}, **addresses)
    return y


def grad_input(grad, weight, size: Pair, stride: Pair, padding: Pair, dilation: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_grad_input``: ``(B, C, H', W')`` and ``(B, C, kH, kW)`` to ``(B, C, *size)``."""
    last = is_channels_last(grad)
    grad, (weight, strides) = grad.contiguous(memory_format=memory_format(grad)), _kernels(weight)
    gx, window = _empty(grad, size, last), (stride, padding, dilation)
    numbers = {"kernel_strides": (*strides, 0)}
    task = _task("input", last, (grad, gx), size, grad.shape[2:], weight.shape[2:], window, **numbers)
    _run(task, gpu, out=gx, kernels=weight.data_ptr(), **{"in": grad.data_ptr()})
    return gx


def grad_weight(grad, x, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, gpu: Gpu) -> Tensor:
    """Compute ``dyc::depthwise_grad_weight``: ``(B, C, H', W')`` and ``(B, C, H, W)`` to ``(B, C, *kernel)``."""
    last, format_ = is_channels_last(x), memory_format(x)
    grad, x = grad.contiguous(memory_format=format_), x.contiguous(memory_format=format_)
    gw, taps, window = _empty(x, kernel, last), kernel[0] * kernel[1], (stride, padding, dilation)
    each = x.shape[1] * taps
    strides = (each, 1, x.shape[1], 0) if last else (each, taps, 1, 0)
    task = _task("weight", last, (x, grad), x.shape[2:], grad.shape[2:], kernel, window, kernel_strides=strides)
    _run(task, gpu, out=gw, grad=grad.data_ptr(), **{"in": x.data_ptr()})
    return gw


def launch_arguments(call: Call) -> tuple[ctypes.c_void_p, int]:
    """Return the array of addresses that a launch takes (to be kept until then), and its address."""
    array = ctypes.c_void_p(ctypes.addressof(call))
    return array, ctypes.addressof(array)
