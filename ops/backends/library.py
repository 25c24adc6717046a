"""The ``torch.library`` operators that several backends implement: schemas, shapes, and gradients.

``dyc::depthwise`` is bilinear in features and kernels, so the gradient of each of the three operators is made of the
other two, and they are differentiable to any order. Backends add what computes: C++ for the CPU (with gradients of its
own, which cost less per call), CUDA C++ for the GPU. Operators that one backend alone has stand in its own folder.
"""

import torch
from torch import Tensor

from ops.checks import transformed
from ops.layout import in_format_of
from ops.window import Window

WINDOW = "int[2] stride, int[2] padding, int[2] dilation"

LIBRARY = torch.library.Library("dyc", "DEF")
LIBRARY.define(f"depthwise(Tensor x, Tensor weight, {WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_input(Tensor grad, Tensor weight, SymInt[2] size, {WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_weight(Tensor grad, Tensor x, SymInt[2] kernel, {WINDOW}) -> Tensor")


def empty_output(x, kernel, window):
    """Return an empty output of a convolution of ``x`` with kernels of this size, in pixels, and this window."""
    return x.new_empty((*x.shape[:2], *Window(*window).output_size(x.shape[2:], kernel)))


@torch.library.register_fake("dyc::depthwise", lib=LIBRARY)
def _(x, weight, stride, padding, dilation):
    return in_format_of(empty_output(x, weight.shape[2:], (stride, padding, dilation)), x)


@torch.library.register_fake("dyc::depthwise_grad_input", lib=LIBRARY)
def _(grad, weight, size, stride, padding, dilation):
    return in_format_of(grad.new_empty((*grad.shape[:2], *size)), grad)


@torch.library.register_fake("dyc::depthwise_grad_weight", lib=LIBRARY)
def _(grad, x, kernel, stride, padding, dilation):
    return in_format_of(x.new_empty((*x.shape[:2], *kernel)), x)


def _keep(ctx, inputs, output) -> None:
    first, second, *window = inputs
    ctx.save_for_backward(first, second)
    ctx.window = tuple(window[-3:])


def _depthwise_backward(ctx, grad):
    x, weight = ctx.saved_tensors
    grad = in_format_of(grad, x)  # incoming gradients have any strides
    ops = torch.ops.dyc
    gx = ops.depthwise_grad_input(grad, weight, x.shape[2:], *ctx.window) if ctx.needs_input_grad[0] else None
    gw = ops.depthwise_grad_weight(grad, x, weight.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return gx, gw, None, None, None


def _grad_input_backward(ctx, grad2):
    grad, weight = ctx.saved_tensors
    grad2 = in_format_of(grad2, grad)
    ops = torch.ops.dyc
    ggrad = ops.depthwise(grad2, weight, *ctx.window) if ctx.needs_input_grad[0] else None
    gw = ops.depthwise_grad_weight(grad, grad2, weight.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return ggrad, gw, None, None, None, None


def _grad_weight_backward(ctx, grad2):
    grad, x = ctx.saved_tensors
    grad = in_format_of(grad, x)
    ops = torch.ops.dyc
    ggrad = ops.depthwise(x, grad2, *ctx.window) if ctx.needs_input_grad[0] else None
    gx = ops.depthwise_grad_input(grad, grad2, x.shape[2:], *ctx.window) if ctx.needs_input_grad[1] else None
    return ggrad, gx, None, None, None, None


for _name, _backward in (
    ("depthwise", _depthwise_backward),
    ("depthwise_grad_input", _grad_input_backward),
    ("depthwise_grad_weight", _grad_weight_backward),
):
    torch.library.register_autograd(f"dyc::{_name}", _backward, setup_context=_keep, lib=LIBRARY)


class _Depthwise(torch.autograd.Function):
    """``dyc::depthwise`` with the gradient above, called more directly.

    The rules of ``torch.library`` are Python around every call: forward and backward took 250 to 300 microseconds of a
    processor with them and 90 without, more than a GPU needs for a layer.
    """

    @staticmethod
    def forward(ctx, x, weight, *window):
        ctx.save_for_backward(x, weight)
        ctx.window = window
        return torch.ops.dyc.depthwise(x, weight, *window)

    backward = staticmethod(_depthwise_backward)


def depthwise(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Call ``dyc::depthwise``, at the least cost where PyTorch itself asks for the gradients.

    Compilers, tracers and the transforms of ``torch.func`` see the operator.
    """
    asks = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    seen = torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed()
    if asks and not seen:
        return _Depthwise.apply(x, weight, *window)
    return torch.ops.dyc.depthwise(x, weight, *window)
