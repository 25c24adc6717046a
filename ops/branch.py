"""A dynamic convolution with its attention branch: pooling, two linear layers, softmax, mixing and the convolution."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ops import checks
from ops.checks import IntPair
from ops.errors import ArgumentError
from ops.functional import dynamic_conv2d
from ops.problem import Problem
from ops.registry import chosen_state, select_backend


class GlobalBranch(NamedTuple):
    """The parameters of the attention of Dynamic Convolution (DY) and DYC.

    Args:
        fc1_weight: ``(hidden, C_in)``.
        fc1_bias: ``(hidden,)`` or None.
        fc2_weight: ``(K, hidden)`` for one weight per kernel, ``(K * C_out, hidden)`` for one per kernel and output
            channel, the kernel varying slowest.
        fc2_bias: As many as ``fc2_weight`` has rows, or None.
        temperature: Divides the logits, a positive scalar.
    """

    fc1_weight: Tensor
    fc1_bias: Tensor | None
    fc2_weight: Tensor
    fc2_bias: Tensor | None
    temperature: Tensor


def branch_attention(x: Tensor, branch: GlobalBranch, num_kernels: int) -> Tensor:
    """Return ``softmax(fc2(relu(fc1(x.mean((2, 3))))) / temperature)`` over the kernels.

    Args:
        x: Features, ``(B, C_in, H, W)``.
        branch: The parameters.
        num_kernels: ``K``.

    Returns:
        ``(B, K)``, or ``(B, K, C_out)`` where ``fc2_weight`` has more rows than kernels.

    Source: Chen et al., Dynamic Convolution, section 3.2, https://arxiv.org/abs/1912.03458
    """
    hidden = torch.relu(F.linear(x.mean((2, 3)), branch.fc1_weight, branch.fc1_bias))
    logits = F.linear(hidden, branch.fc2_weight, branch.fc2_bias)
    if branch.fc2_weight.shape[0] != num_kernels:
        logits = logits.unflatten(1, (num_kernels, -1))
    return torch.softmax(logits / branch.temperature, dim=1)


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
    if fusible and not torch.compiler.is_compiling() and not checks.autocasts(x):
        # Compilers see the parts, which they fuse themselves.
        run = _plan(x, weight, branch, stride, padding, dilation, groups, backend)
        if run is not None:
            return run(x, weight, branch)
    _check(x, weight, branch)
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    attention = branch_attention(x, branch, weight.shape[0])
    return dynamic_conv2d(x, weight, attention, bias, **window, groups=groups, mixing=mixing, backend=backend)


_Run = Callable[[Tensor, Tensor, GlobalBranch], Tensor]
_PLANS: dict[tuple, _Run | None] = {}  # checking and choosing anew would take as long as a small layer
_MOST_PLANS = 4096


def _plan(x, weight, branch, stride, padding, dilation, groups, backend) -> _Run | None:
    """Return what runs the whole layer in one call of a backend; None where the parts have to do."""
    fc1, bias1, fc2, bias2, temperature = branch
    asks = torch.is_grad_enabled() and (
        (x.requires_grad or weight.requires_grad or fc1.requires_grad or fc2.requires_grad)
        or (bias1 is not None and bias1.requires_grad)
        or (bias2 is not None and bias2.requires_grad)
    )
    key = (
        *(x.shape, x.dtype, x.device, checks.is_channels_last(x), weight.shape, weight.dtype),
        *(asks, fc1.shape, bias1 if bias1 is None else bias1.shape, fc2.shape),
        *(bias2 if bias2 is None else bias2.shape, temperature.shape),
        *(stride, padding, dilation, groups, backend, *chosen_state()),
    )
    if key not in _PLANS:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[key] = _make_plan(x, weight, branch, asks, stride, padding, dilation, groups, backend)
    return _PLANS[key]


def _make_plan(x, weight, branch, asks, stride, padding, dilation, groups, backend) -> _Run | None:
    checks.features(x)
    tensors = (x, weight, *[t for t in branch if t is not None])
    if not groups == x.shape[1] == weight.shape[1] or any(t.dtype != x.dtype or t.device != x.device for t in tensors):
        return None
    window = checks.window(x, weight.shape[3:], stride, padding, dilation)
    problem = Problem.of(x, weight, *window)._replace(needs_grad=asks)
    chosen = select_backend(problem, backend)
    if chosen.run_branch is None or not chosen.can_branch(problem):
        return None
    _check(x, weight, branch)
    return lambda x, weight, branch: chosen.run_branch(x, weight, branch, *window)


def _check(x: Tensor, weight: Tensor, branch: GlobalBranch) -> None:
    """Hold the shapes to each other: compiled code would read past the end of what is too short."""
    if weight.dim() != 5 or x.dim() != 4:
        return  # dynamic_conv2d says so
    kernels, channels = weight.shape[:2]
    hidden, inputs = branch.fc1_weight.shape
    if inputs != x.shape[1]:
        raise ArgumentError("fc1_weight", f"shape {tuple(branch.fc1_weight.shape)}", f"(hidden, {x.shape[1]})")
    rows = branch.fc2_weight.shape[0]
    if branch.fc2_weight.shape != (rows, hidden) or rows not in (kernels, kernels * channels):
        raise ArgumentError(
            "fc2_weight",
            f"shape {tuple(branch.fc2_weight.shape)}",
            f"({kernels}, {hidden}) or ({kernels * channels}, {hidden})",
        )
    for name, bias, width in (("fc1_bias", branch.fc1_bias, hidden), ("fc2_bias", branch.fc2_bias, rows)):
        if bias is not None and bias.shape != (width,):
            raise ArgumentError(name, f"shape {tuple(bias.shape)}", f"({width},)")
    if branch.temperature.numel() != 1:
        raise ArgumentError("temperature", f"shape {tuple(branch.temperature.shape)}", "one number")
