"""The ``torch.library`` operators behind the compiled backends: schemas, shapes, and gradients.

``dyc::depthwise`` is bilinear in features and kernels, so the gradient of each of the three operators is made of the
other two, and they are differentiable to any order. ``dyc::depthwise_bank`` mixes the kernels from a bank by itself.
Backends add what computes: C++ for the CPU (with gradients of its own, which cost less per call), CUDA C++ for the GPU.
"""

import torch

from ops.layout import in_format_of
from ops.mixing import mix_kernels
from ops.window import Window

_WINDOW = "int[2] stride, int[2] padding, int[2] dilation"

LIBRARY = torch.library.Library("dyc", "DEF")
LIBRARY.define(f"depthwise(Tensor x, Tensor weight, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_input(Tensor grad, Tensor weight, SymInt[2] size, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_grad_weight(Tensor grad, Tensor x, SymInt[2] kernel, {_WINDOW}) -> Tensor")
LIBRARY.define(f"depthwise_bank(Tensor x, Tensor bank, Tensor attention, {_WINDOW}) -> Tensor")

_BRANCH = "Tensor fc1_weight, Tensor? fc1_bias, Tensor fc2_weight, Tensor? fc2_bias, Tensor temperature"
_KEPT = "Tensor pooled, Tensor hidden, Tensor attention, Tensor mixed"

LIBRARY.define(f"attended_depthwise(Tensor x, Tensor bank, {_BRANCH}, {_WINDOW}) -> Tensor")
LIBRARY.define(
    f"attended_depthwise_keeping(Tensor x, Tensor bank, {_BRANCH}, {_WINDOW})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
LIBRARY.define(
    "attended_depthwise_backward(Tensor grad, Tensor x, Tensor bank, Tensor fc1_weight, Tensor fc2_weight,"
    f" Tensor temperature, {_KEPT}, bool[6] needs, {_WINDOW}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _output(x, kernel, window):
    """Return an empty output of a convolution of ``x`` with kernels of this size, in pixels, and this window."""
    return x.new_empty((*x.shape[:2], *Window(*window).output_size(x.shape[2:], kernel)))


def _channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


@torch.library.register_fake("dyc::depthwise", lib=LIBRARY)
def _(x, weight, stride, padding, dilation):
    return in_format_of(_output(x, weight.shape[2:], (stride, padding, dilation)), x)


@torch.library.register_fake("dyc::depthwise_bank", lib=LIBRARY)
def _(x, bank, attention, stride, padding, dilation):
    return torch.ops.dyc.depthwise(x, bank, stride, padding, dilation)  # of the same shape as with mixed kernels


@torch.library.register_fake("dyc::depthwise_grad_input", lib=LIBRARY)
def _(grad, weight, size, stride, padding, dilation):
    return in_format_of(grad.new_empty((*grad.shape[:2], *size)), grad)


@torch.library.register_fake("dyc::depthwise_grad_weight", lib=LIBRARY)
def _(grad, x, kernel, stride, padding, dilation):
    return in_format_of(x.new_empty((*x.shape[:2], *kernel)), x)


@torch.library.register_fake("dyc::attended_depthwise", lib=LIBRARY)
def _(x, bank, fc1_weight, fc1_bias, fc2_weight, fc2_bias, temperature, stride, padding, dilation):
    return _channels_last(_output(x, bank.shape[3:], (stride, padding, dilation)))


@torch.library.register_fake("dyc::attended_depthwise_keeping", lib=LIBRARY)
def _(x, bank, fc1_weight, fc1_bias, fc2_weight, fc2_bias, temperature, stride, padding, dilation):
    y = _channels_last(_output(x, bank.shape[3:], (stride, padding, dilation)))
    batch, channels = x.shape[:2]
    mixed = _channels_last(x.new_empty((batch, channels, *bank.shape[3:])))
    widths = (channels, fc1_weight.shape[0], fc2_weight.shape[0])
    return y, *(x.new_empty((batch, width)) for width in widths), mixed


@torch.library.register_fake("dyc::attended_depthwise_backward", lib=LIBRARY)
def _(grad, x, bank, fc1, fc2, temperature, pooled, hidden, attention, mixed, needs, stride, padding, dilation):
    gx = _channels_last(x.new_empty(x.shape))
    gbank = _channels_last(bank.new_empty(bank.shape).squeeze(2)).unsqueeze(2)
    weights = ((w.new_empty(w.shape), w.new_empty(w.shape[:1])) for w in (fc1, fc2))
    found = (gx, gbank, *(t for pair in weights for t in pair))
    return tuple(t if needed else None for t, needed in zip(found, needs))


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


def _keep_three(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.window = tuple(inputs[3:])


def _bank_backward(ctx, grad):
    x, bank, attention = ctx.saved_tensors
    grad = in_format_of(grad, x)
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
