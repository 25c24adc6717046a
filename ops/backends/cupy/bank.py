"""The ``torch.library`` operator ``dyc::depthwise_bank``: a depthwise convolution that mixes its kernels by itself."""

import torch
from torch.utils.flop_counter import register_flop_formula

from ops.backends import flops
from ops.backends.library import LIBRARY, WINDOW
from ops.layout import in_format_of
from ops.mixing import mix_kernels

LIBRARY.define(f"depthwise_bank(Tensor x, Tensor bank, Tensor attention, {WINDOW}) -> Tensor")


@torch.library.register_fake("dyc::depthwise_bank", lib=LIBRARY)
def _(x, bank, attention, stride, padding, dilation):
    return torch.ops.dyc.depthwise(x, bank, stride, padding, dilation)  # of the same shape as with mixed kernels


def _keep(ctx, inputs, output) -> None:
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


torch.library.register_autograd("dyc::depthwise_bank", _bank_backward, setup_context=_keep, lib=LIBRARY)
register_flop_formula(torch.ops.dyc.depthwise_bank)(flops.forward)
