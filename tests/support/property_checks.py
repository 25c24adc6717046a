"""Run what a property test has drawn, and hold it to the definition."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from support.backends import able
from support.property_convolutions import Call
from support.property_tensors import check_close, exact, magnitude
from torch import Tensor

import ops
from ops.layout import is_channels_last, memory_format

BACKENDS = ["auto", *able("depthwise_conv2d")]
USUALLY_AUTO = ["auto", "auto", *BACKENDS]  # for operators that most backends decline
CPP_DTYPES = (torch.float32, torch.bfloat16)
MODES = {"grad": nullcontext, "no_grad": torch.no_grad, "inference": torch.inference_mode}


def uncompiled():
    """Let the backend ``compile`` run its formulas as they are: Inductor takes seconds for each shape."""
    return torch.compiler.set_stance("force_eager")


def declines(call: Call) -> bool:
    """Tell whether the backend that a call names has to say that it cannot run it."""
    if call.backend in ("auto", "eager"):
        return False
    return not call.depthwise or call.mixing == "features" or (call.backend == "cpp" and call.dtype not in CPP_DTYPES)


def outcome(call: Call, run: Callable[..., Tensor], tensors: dict[str, Tensor]) -> Tensor | None:
    """Run a call; None where it was refused, and had to be."""
    refused, y, refusal = call.refused(), None, None
    try:
        with MODES[call.mode]():
            y = run(**tensors)
    except (ops.ArgumentError, ops.BackendUnavailable) as error:
        refusal = error
    if isinstance(refusal, ops.ArgumentError):
        assert refusal.argument == refused, str(refusal)
    elif refusal is not None:
        assert declines(call), str(refusal)
    else:
        assert refused is None
        assert not declines(call)
    return y


def check(
    call: Call, run: Callable[..., Tensor], define: Callable[..., Tensor], tensors: dict[str, Tensor], roundings: int
) -> None:
    """Hold output and gradients of a call to the definition, which has to be linear in every tensor."""
    y = outcome(call, run, tensors)
    if y is None:
        return
    assert y.dtype == call.dtype
    assert y.is_contiguous(memory_format=memory_format(is_channels_last(tensors["x"])))
    asked = [name for name in tensors if name in call.asks]
    wants = {name: exact(t).requires_grad_(name in asked) for name, t in tensors.items()}
    sums = {name: magnitude(t).requires_grad_(name in asked) for name, t in tensors.items()}
    want, bound = define(**wants), define(**sums)
    check_close("output", y, want.detach(), bound.detach(), roundings)
    assert y.requires_grad == (bool(asked) and call.mode == "grad")
    if not y.requires_grad:
        return
    toward = call.gradient(y)
    found = torch.autograd.grad(y, [tensors[name] for name in asked], toward)
    exactly = torch.autograd.grad(want, [wants[name] for name in asked], exact(toward))
    bounds = torch.autograd.grad(bound, [sums[name] for name in asked], magnitude(toward))
    for name, gradient, right, limit in zip(asked, found, exactly, bounds, strict=True):
        assert gradient.dtype == call.dtype
        check_close(f"gradient of {name}", gradient, right, limit, roundings)
