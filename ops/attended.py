"""A dynamic convolution with its attention: pooling, two linear layers, softmax, mixing and the convolution."""

from collections.abc import Callable

import torch
from torch import Tensor

from ops import checks
from ops.branch import GlobalBranch, branch_attention, check_branch
from ops.checks import IntPair
from ops.dispatch.problem import Problem
from ops.dispatch.registry import chosen_state, select_backend
from ops.functional import dynamic_conv2d


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
        x: Features, ``(B, C_in, H, W)``, floating point.
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
    fusible = mixing in ("auto", "kernels") and bias is None and not branch.temperature.requires_grad
    # Compilers and tracers see the parts: they fuse them themselves, or keep PyTorch's own operators.
    if fusible and not torch.compiler.is_compiling() and not checks.autocasts(x) and not torch.jit.is_tracing():
        run = _plan(x, weight, branch, stride, padding, dilation, groups, backend)
        if run is not None:
            return run(x, weight, branch)
    checks.features(x)
    if weight.dim() == 5:  # dynamic_conv2d says what it is, if not a bank
        check_branch(branch, x.shape[1], weight)
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    attention = branch_attention(x, branch, weight.shape[0])
    return dynamic_conv2d(x, weight, attention, bias, **window, groups=groups, mixing=mixing, backend=backend)


_Run = Callable[[Tensor, Tensor, GlobalBranch], Tensor]
_PLANS: dict[tuple, object] = {}  # checking and choosing anew would take as long as a small layer
_MOST_PLANS = 4096
_UNKNOWN = object()
_PLAIN = (Tensor, torch.nn.Parameter)  # others, such as fake tensors, stand for something else


def _plan(x, weight, branch, stride, padding, dilation, groups, backend) -> _Run | None:
    """Return what runs the whole layer in one call of a backend; None where the parts have to do."""
    if type(x) not in _PLAIN or type(weight) not in _PLAIN or checks.transformed():
        return None
    if not (type(stride) is type(padding) is type(dilation) is tuple):
        if weight.dim() != 5:
            return None  # dynamic_conv2d says what it is, if not a bank
        stride, padding, dilation = checks.window(x, weight.shape[3:], stride, padding, dilation)
    fc1, bias1, fc2, bias2, temperature = branch
    asks = torch.is_grad_enabled() and (
        (x.requires_grad or weight.requires_grad or fc1.requires_grad or fc2.requires_grad)
        or (bias1 is not None and bias1.requires_grad)
        or (bias2 is not None and bias2.requires_grad)
    )
    key = (
        *(x.shape, x.dtype, x.device, checks.is_channels_last(x), asks),
        *(stride, padding, dilation, groups, backend, *chosen_state()),
        *(weight.shape, weight.dtype, weight.device),
        *(fc1.shape, fc1.dtype, fc1.device, fc2.shape, fc2.dtype, fc2.device),
        None if bias1 is None else (bias1.shape, bias1.dtype, bias1.device),
        None if bias2 is None else (bias2.shape, bias2.dtype, bias2.device),
        *(temperature.shape, temperature.dtype, temperature.device),
    )
    run = _PLANS.get(key, _UNKNOWN)
    if run is _UNKNOWN:
        run = _make_plan(x, weight, branch, asks, stride, padding, dilation, groups, backend)
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[key] = run
    return run


def _make_plan(x, weight, branch, asks, stride, padding, dilation, groups, backend) -> _Run | None:
    checks.features(x)
    tensors = (x, weight, *[t for t in branch if t is not None])
    if weight.dim() != 5 or not groups == x.shape[1] == weight.shape[1]:
        return None
    if any(t.dtype != x.dtype or t.device != x.device for t in tensors):
        return None
    checks.bank(x, weight, groups)
    check_branch(branch, x.shape[1], weight)
    window = checks.window(x, weight.shape[3:], stride, padding, dilation)
    problem = Problem.of(x, weight, *window)._replace(needs_grad=asks)
    chosen = select_backend(problem, backend)
    if chosen.run_branch is None or not chosen.can_branch(problem):
        return None
    return lambda x, weight, branch: chosen.run_branch(x, weight, branch, *window)
