"""The attention branch of Dynamic Convolution and DYC: its parameters, what it computes, and their checks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ops import checks
from ops.errors import ArgumentError


class GlobalBranch(NamedTuple):
    """The parameters of the attention of Dynamic Convolution (DY) and DYC.

    Args:
        fc1_weight: ``(hidden, C_in)``.
        fc1_bias: ``(hidden,)`` or None.
        fc2_weight: ``(K, hidden)`` for one weight per kernel, ``(K * C_out, hidden)`` for one per kernel and output
            channel, the kernel varying slowest.
        fc2_bias: As many as ``fc2_weight`` has rows, or None.
        temperature: Divides the logits, a tensor of one positive number.
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


def check_branch(branch: GlobalBranch, x: Tensor, weight: Tensor) -> None:
    """Check the parameters against the features and the bank: compiled code would read past what is too short."""
    (kernels, channels), in_channels = weight.shape[:2], x.shape[1]
    for name, value in zip(branch._fields, branch):
        if value is not None:
            _check_kind(name, value, x)
    fc1, fc2 = branch.fc1_weight, branch.fc2_weight
    if fc1.dim() != 2 or fc1.shape[0] < 1 or fc1.shape[1] != in_channels:
        raise ArgumentError("fc1_weight", f"shape {tuple(fc1.shape)}", f"(hidden, {in_channels})")
    hidden = fc1.shape[0]
    if fc2.dim() != 2 or fc2.shape[1] != hidden or fc2.shape[0] not in (kernels, kernels * channels):
        need = f"({kernels}, {hidden}) or ({kernels * channels}, {hidden})"
        raise ArgumentError("fc2_weight", f"shape {tuple(fc2.shape)}", need)
    for name, bias, width in (("fc1_bias", branch.fc1_bias, hidden), ("fc2_bias", branch.fc2_bias, fc2.shape[0])):
        if bias is not None and bias.shape != (width,):
            raise ArgumentError(name, f"shape {tuple(bias.shape)}", f"({width},)")
    if branch.temperature.numel() != 1:
        raise ArgumentError("temperature", f"shape {tuple(branch.temperature.shape)}", "one number")


def _check_kind(name: str, value: Tensor, x: Tensor) -> None:
    """Check device and dtype of a parameter; a temperature of any floating-point type divides the logits."""
    if name == "temperature":
        if not value.is_floating_point() or value.device not in (x.device, torch.device("cpu")):
            raise ArgumentError(name, f"{value.dtype} on {value.device}", f"floating point on {x.device}")
        return
    cast = checks.autocasts(x) and torch.float64 not in (value.dtype, x.dtype)  # as linear layers do inside autocast
    if value.device != x.device or (value.dtype != x.dtype and not (cast and value.dtype in checks.FLOATING)):
        need = f"{x.dtype} on {x.device}, the dtype and device of x"
        raise ArgumentError(name, f"{value.dtype} on {value.device}", need)


def check_types(x: Tensor, weight: Tensor, branch: GlobalBranch) -> None:
    """Check what the choice of a plan reads, as quickly as can be; the rest is checked when a plan is made."""
    if not isinstance(branch, GlobalBranch):
        raise ArgumentError("branch", type(branch).__name__, "an ops.GlobalBranch")
    checks.tensor("x", x)
    checks.tensor("weight", weight)
    for i, value in enumerate(branch):
        if value is None and i in (1, 3):  # a bias
            continue
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            checks.tensor(branch._fields[i], value)
