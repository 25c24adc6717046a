"""A dynamic convolution with its attention: pooling, two linear layers, softmax, mixing and the convolution."""

from collections.abc import Callable

import torch
from torch import Tensor

from ops import checks, no_samples
from ops.branch import GlobalBranch, branch_attention, check_branch, check_types
from ops.dispatch.operators import ATTENDED_DEPTHWISE
from ops.dispatch.problem import Problem
from ops.dispatch.registry import chosen_state
from ops.dispatch.selection import select
from ops.errors import ArgumentError
from ops.functional import dynamic_call, dynamic_conv2d
from ops.layout import is_channels_last
from ops.window import IntPair, Window


def attended_conv2d(
    x: Tensor,
    weight: Tensor,
    branch: GlobalBranch,
    bias: Tensor | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    mixing: str = "auto",
    backend: str = "auto",
) -> Tensor:
    """Convolve with kernels that the features themselves mix, attention included.

    Equivalent to ``dynamic_conv2d(x, weight, branch_attention(x, branch, K), bias, ...)``. A backend may do all of it
    in one call, as ``cpp`` does for depthwise convolutions of channels_last float32 features: on small images the
    calls of the parts cost more than their arithmetic.

    Args:
        x: Features, ``(B, C_in, H, W)``, floating point; ``B`` may be 0.
        weight: The bank, ``(K, C_out, C_in/groups, kH, kW)``.
        branch: The attention's parameters.
        bias: ``(K, C_out)``, mixed by the same attention.
        stride: As :func:`ops.dynamic_conv2d`, like all that follow.

    Returns:
        ``(B, C_out, H', W')``.

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree (a ``ValueError``).
        BackendUnavailable: The named backend cannot run this call; lists every reason.
    """
    check_types(x, weight, branch)
    if _may_be_one_call(x, branch, bias, mixing):
        run = _plan(x, weight, branch, stride, padding, dilation, groups, backend)
        if run is not None:
            return run(x, weight, branch)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    attention = _attention(x, weight, branch)
    return dynamic_conv2d(x, weight, attention, bias, **options, mixing=mixing, backend=backend)


def _may_be_one_call(x: Tensor, branch: GlobalBranch, bias: Tensor | None, mixing: str) -> bool:
    """Tell whether a backend is asked for the whole layer.

    Compilers and tracers see the parts: they fuse them themselves, or keep PyTorch's own operators.
    """
    fusible = (
        isinstance(mixing, str)
        and mixing in ("auto", "kernels")
        and bias is None
        and not branch.temperature.requires_grad
    )
    return fusible and not torch.compiler.is_compiling() and not checks.autocasts(x) and not torch.jit.is_tracing()


def _attention(x: Tensor, weight: Tensor, branch: GlobalBranch) -> Tensor:
    checks.features(x)
    if weight.dim() != 5:  # all else of it is checked by dynamic_conv2d
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}", "(K, C_out, C_in/groups, kH, kW)")
    check_branch(branch, x, weight)
    return branch_attention(x, branch, weight.shape[0])


def attended_problem(
    x: Tensor,
    weight: Tensor,
    branch: GlobalBranch,
    bias: Tensor | None = None,
    *,
    mixing: str = "auto",
    backend: str = "auto",
    **options: IntPair | str,
) -> Problem:
    """Return what a call of :func:`attended_conv2d` is chosen by; ``options`` are its window and groups."""
    check_types(x, weight, branch)
    if _may_be_one_call(x, branch, bias, mixing) and _is_plain(x, weight):
        problem = _whole_layer(x, weight, branch, **options)
        if problem is not None:
            return problem
    with torch.no_grad():  # its shape, and whether it asks for gradients, is all that matters
        attention = _attention(x, weight, branch)
    attention.requires_grad_(torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in branch))
    return dynamic_call(x, weight, attention, bias, **options, mixing=mixing, backend=backend).problem


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    shaped = x.dim() == 4 and weight.dim() == 5
    return shaped and checks.has_values(x) and checks.has_values(weight) and not checks.transformed()


_Run = Callable[[Tensor, Tensor, GlobalBranch], Tensor]
_PLANS: dict[tuple, object] = {}  # checking and choosing anew would take as long as a small layer
_MOST_PLANS = 4096
_UNKNOWN = object()


def _plan(x, weight, branch, stride, padding, dilation, groups, backend) -> _Run | None:
    """Return what runs the whole layer in one call of a backend; None where the parts have to do or refuse."""
    if not _is_plain(x, weight):
        return None
    if not (type(stride) is type(padding) is type(dilation) is tuple):
        stride, padding, dilation = Window.of(x, weight.shape[3:], stride, padding, dilation)
    fc1, bias1, fc2, bias2, temperature = branch
    asks = torch.is_grad_enabled() and (
        (x.requires_grad or weight.requires_grad or fc1.requires_grad or fc2.requires_grad)
        or (bias1 is not None and bias1.requires_grad)
        or (bias2 is not None and bias2.requires_grad)
    )
    key = (
        *(x.shape, x.dtype, x.device, is_channels_last(x), asks),
        *(stride, padding, dilation, groups, backend, *chosen_state()),
        *(weight.shape, weight.dtype, weight.device),
        *(fc1.shape, fc1.dtype, fc1.device, fc2.shape, fc2.dtype, fc2.device),
        None if bias1 is None else (bias1.shape, bias1.dtype, bias1.device),
        None if bias2 is None else (bias2.shape, bias2.dtype, bias2.device),
        *(temperature.shape, temperature.dtype, temperature.device),
    )
    try:
        run = _PLANS.get(key, _UNKNOWN)
    except TypeError:  # a wrong argument without a hash
        return None
    if run is _UNKNOWN:
        problem = _whole_layer(x, weight, branch, stride, padding, dilation, groups)
        run = None if problem is None else _make_plan(problem._replace(needs_grad=asks), backend)
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[key] = run
    return run


def _whole_layer(x, weight, branch, stride=1, padding=0, dilation=1, groups=1) -> Problem | None:
    """Describe a layer that a backend may run in one call; None if it is no depthwise one of equal dtypes."""
    checks.features(x)
    checks.bank(x, weight, groups)
    tensors = (x, weight, *[t for t in branch if t is not None])
    if not groups == x.shape[1] == weight.shape[1]:
        return None
    if any(t.dtype != x.dtype or t.device != x.device for t in tensors):
        return None
    check_branch(branch, x, weight)
    kernel = weight.shape[3:]
    window = Window.of(x, kernel, stride, padding, dilation)
    return Problem.of(ATTENDED_DEPTHWISE, x, weight, *branch, kernel=kernel, window=window, groups=groups)


def _make_plan(problem: Problem, backend: str) -> _Run | None:
    """Return the call of the chosen backend for the whole layer; None if it has no such call for this problem."""
    chosen = select(problem, backend)
    if chosen.operator != ATTENDED_DEPTHWISE:
        return None
    if problem.batch == 0:
        return lambda x, weight, branch: no_samples.dynamic_depthwise(
            x, weight.squeeze(2), branch_attention(x, branch, weight.shape[0]), problem.window
        )
    return lambda x, weight, branch: chosen.run(x, weight, branch, problem.window)
