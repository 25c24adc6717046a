"""The ``torch.library`` operators behind the compiled backends: schemas, shapes, and gradients.

``dyc::depthwise`` is bilinear in features and kernels, so the gradient of each of the three operators is made of the
other two, and they are differentiable to any order. ``dyc::depthwise_bank`` mixes the kernels from a bank by itself.
Backends add what computes: C++ for the CPU (with gradients of its own, which cost less per call), CUDA C++ for the GPU.
"""

import torch
from torch import Tensor

from ops.checks import is_channels_last
from ops.functional import mix_kernels

_WINDOW = "int[2] stride, int[2] padding, int[2] dilation"

LIBRARY = torch.library.Library("dyc", "DEF")
LIBRARY.define(f"depthwise(Tensor x, Tensor weight, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_input(Tensor grad, Tensor weight, SymInt[2] size, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_weight(Tensor grad, Tensor x, SymInt[2] kernel, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_bank(Tensor x, Tensor bank, Tensor attention, {_WINDOW}) -> Tensor")


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format that the operators keep: that of ``x``, its slices included."""
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


@torch.library.register_fake("dyc::depthwise", lib=LIBRARY)
def _(x, weight, stride, padding, dilation):
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    ]
    return x.new_empty((*x.shape[:2], *size)).contiguous(memory_format=memory_format(x))


@torch.library.register_fake("dyc::depthwise_bank", lib=LIBRARY)
def _(x, bank, attention, stride, padding, dilation):
    return torch.ops.dyc.depthwise(x, bank, stride, padding, dilation)  # of the same shape as with mixed kernels


@torch.library.register_fake("dyc::depthwise_grad_input", lib=LIBRARY)
def _(grad, weight, size, stride, padding, dilation):
    return grad.new_empty((*grad.shape[:2], *size)).contiguous(memory_format=memory_format(grad))


@torch.library.register_fake("dyc::depthwise_grad_weight", lib=LIBRARY)
def _(grad, x, kernel, stride, padding, dilation):
    return x.new_empty((*x.shape[:2], *kernel)).contiguous(memory_format=memory_format(x))


def _keep(ctx, inputs, output) -> None:
    first, second, *window = inputs
    ctx.save_for_backward(first, second)
    ctx.window = tuple(window[-3:])


def _depthwise_backward(ctx, grad):
    x, weight = ctx.saved_tensors
    grad = grad.contiguous(memory_format=memory_format(x))  # incoming gradients have any strides
    ops = torch.ops.dyc
    gx = ops.depthwise_grad_input(grad, weight, x.shape[2:], *ctx.window) if ctx.needs_input_grad[0] else None
    gw = ops.depthwise_grad_weight(grad, x, weight.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return gx, gw, None, None, None


def _grad_input_backward(ctx, grad2):
    grad, weight = ctx.saved_tensors
    grad2 = grad2.contiguous(memory_format=memory_format(grad))
    ops = torch.ops.dyc
    ggrad = ops.depthwise(grad2, weight, *ctx.window) if ctx.needs_input_grad[0] else None
    gw = ops.depthwise_grad_weight(grad, grad2, weight.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return ggrad, gw, None, None, None, None


def _grad_weight_backward(ctx, grad2):
    grad, x = ctx.saved_tensors
    grad = grad.contiguous(memory_format=memory_format(x))
    ops = torch.ops.dyc
    ggrad = ops.depthwise(x, grad2, *ctx.window) if ctx.needs_input_grad[0] else None
    gx = ops.depthwise_grad_input(grad, grad2, x.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return ggrad, gx, None, None, None, None


def _keep_three(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.window = tuple(inputs[3:])


def _bank_backward(ctx, grad):
    x, bank, attention = ctx.saved_tensors
    grad = grad.contiguous(memory_format=memory_format(x))
    ops, taps = torch.ops.dyc, bank.shape[2:]
    gx = gbank = gattention = None
    if ctx.needs_input_grad[0]:
        gx = ops.depthwise_grad_input(grad, mix_kernels(bank, attention), x.shape[2:], *ctx.window)
    if any(ctx.needs_input_grad[1:3]):
        weights = "bkc" if attention.dim() == 3 else "bk"
        gw = ops.depthwise_grad_weight(grad, x, taps, *ctx.window)
        gbank = torch.einsum(f"{weights},bcij->kcij", attention, gw) if ctx.needs_input_grad[1] else None
        gattention = torch.einsum(f"kcij,bcij->{weights}", bank, gw) if ctx.needs_input_grad[2] else None
    return gx, gbank, gattention, None, None, None


torch.library.register_autograd("dyc::depthwise_bank", _bank_backward, setup_context=_keep_three, lib=LIBRARY)
for _name, _backward in (
    ("depthwise", _depthwise_backward),
    ("depthwise_grad_input", _grad_input_backward),
    ("depthwise_grad_weight", _grad_weight_backward),
):
    torch.library.register_autograd(f"dyc::{_name}", _backward, setup_context=_keep, lib=LIBRARY)
