"""The public operators: check the arguments, cast under autocast, dispatch."""

from typing import NamedTuple

from torch import Tensor

from ops import checks
from ops.dispatch.operators import DEPTHWISE, DYNAMIC_DEPTHWISE, FEATURE_MIXING, PER_SAMPLE
from ops.dispatch.problem import Problem
from ops.dispatch.registry import check_backend_name, mixes_kernels_alone
from ops.dispatch.selection import select
from ops.errors import ArgumentError
from ops.mixing import cheaper_mixing, check_mixing, check_mixture, mix_kernels
from ops.window import IntPair, Window


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    backend: str = "auto",
) -> Tensor:
    """Convolve each sample with its own depthwise kernels.

    Equivalent to ``F.conv2d(x[n : n + 1], weight[n].unsqueeze(1), groups=C)`` for each ``n``.

    Args:
        x: Features, ``(B, C, H, W)``, floating point; ``B`` may be 0.
        weight: Kernels, ``(B, C, kH, kW)``, same device and dtype as ``x``.
        stride: Step in pixels, one int or ``(vertical, horizontal)``.
        padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        backend: ``"auto"`` or a registered name; a named backend never falls back.

    Returns:
        ``(B, C, H', W')`` in the memory format and dtype of ``x`` (the autocast dtype inside autocast).

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, or the output would be empty (a ``ValueError``).
        BackendUnavailable: The named backend cannot run this call; lists every reason.

    Example:
        >>> import torch
        >>> depthwise_conv2d(torch.randn(2, 8, 32, 32), torch.randn(2, 8, 3, 3), padding=1).shape
        torch.Size([2, 8, 32, 32])
    """
    problem, arguments = depthwise_call(x, weight, stride=stride, padding=padding, dilation=dilation)
    return select(problem, backend).run(*arguments)


def depthwise_call(
    x: Tensor, weight: Tensor, *, stride: IntPair = 1, padding: IntPair | str = 0, dilation: IntPair = 1
) -> tuple[Problem, tuple[Tensor, Tensor, Window]]:
    """Check a call of :func:`depthwise_conv2d`; return what is chosen by, and what is run with."""
    checks.features(x)
    checks.tensor("weight", weight)
    x, weight = checks.autocast(x, weight)
    fits = weight.dim() == 4 and weight.shape[:2] == x.shape[:2] and 0 not in weight.shape[2:]
    checks.companion("weight", weight, x, "(B, C, kH, kW), none of C, kH and kW 0,", fits)
    kernel = weight.shape[2:]
    window = Window.of(x, kernel, stride, padding, dilation)
    return Problem.of(DEPTHWISE, x, weight, kernel=kernel, window=window), (x, weight, window)


def per_sample_conv2d(
    x: Tensor,
    weight: Tensor,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    backend: str = "auto",
) -> Tensor:
    """Convolve each sample with its own kernels, depthwise or not.

    Equivalent to ``F.conv2d(x[n : n + 1], weight[n], None, stride, padding, dilation, groups)`` for each ``n``.

    Args:
        x: Features, ``(B, C_in, H, W)``, floating point; ``B`` may be 0.
        weight: Kernels, ``(B, C_out, C_in/groups, kH, kW)``, same device and dtype as ``x``.
        stride: Step in pixels, one int or ``(vertical, horizontal)``.
        padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        groups: Groups of the convolution; must divide ``C_in`` and ``C_out``.
        backend: ``"auto"`` or a registered name; a named backend never falls back.

    Returns:
        ``(B, C_out, H', W')`` in the memory format and dtype of ``x`` (the autocast dtype inside autocast).

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, or the output would be empty (a ``ValueError``).
        BackendUnavailable: The named backend cannot run this call; lists every reason.

    Example:
        >>> import torch
        >>> per_sample_conv2d(torch.randn(2, 8, 9, 9), torch.randn(2, 6, 4, 3, 3), groups=2).shape
        torch.Size([2, 6, 7, 7])
    """
    problem, arguments = per_sample_call(
        x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups, backend=backend
    )
    return select(problem, backend).run(*arguments)


def per_sample_call(
    x: Tensor,
    weight: Tensor,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    backend: str = "auto",
) -> tuple[Problem, tuple]:
    """Check a call of :func:`per_sample_conv2d`; return what is chosen by, and what is run with."""
    check_backend_name(backend)
    checks.features(x)
    checks.tensor("weight", weight)
    x, weight = checks.autocast(x, weight)
    if weight.dim() != 5 or weight.shape[0] != x.shape[0]:
        need = f"({x.shape[0]}, C_out, C_in/groups, kH, kW): kernels for each sample"
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}", need)
    checks.bank(x, weight, groups, may_be_empty=True)
    if x.shape[1] == weight.shape[1] == groups:
        return depthwise_call(x, weight.squeeze(2), stride=stride, padding=padding, dilation=dilation)
    kernel, out_channels = weight.shape[3:], weight.shape[1]
    window = Window.of(x, kernel, stride, padding, dilation)
    shape = {"kernel": kernel, "window": window, "out_channels": out_channels, "groups": groups}
    return Problem.of(PER_SAMPLE, x, weight, **shape), (x, weight, window, groups)


def dynamic_conv2d(
    x: Tensor,
    weight: Tensor,
    attention: Tensor,
    bias: Tensor | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    mixing: str = "auto",
    backend: str = "auto",
) -> Tensor:
    """Convolve each sample with its own mixture of a bank of kernels.

    Equivalent to ``F.conv2d(x[n : n + 1], W[n], b[n], stride, padding, dilation, groups)`` for each ``n`` with
    ``W[n, o] = sum_k attention[n, k, o] * weight[k, o]`` and ``b`` alike. One formula serves Dynamic Convolution,
    channel-wise DYC, DyNet, EAM-DyNet and CondConv.

    Args:
        x: Features, ``(B, C_in, H, W)``, floating point; ``B`` may be 0.
        weight: The bank, ``(K, C_out, C_in/groups, kH, kW)``, same device and dtype as ``x``.
        attention: ``(B, K)``, or per output channel ``(B, K, C_out)``.
        bias: ``(K, C_out)``, mixed by the same attention.
        stride: Step in pixels, one int or ``(vertical, horizontal)``.
        padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        groups: Groups of the convolution; must divide ``C_in`` and ``C_out``.
        mixing: What is mixed: ``"kernels"`` before the convolution, ``"features"`` after one with the whole bank,
            or ``"auto"``, the cheaper by :func:`ops.mixing.cheaper_mixing`. The result is the same.
        backend: ``"auto"`` or a registered name; a named backend never falls back. Dense, grouped and pointwise
            convolutions, and mixed feature maps, are plain PyTorch, which is the backend ``"eager"``.

    Returns:
        ``(B, C_out, H', W')`` in the memory format and dtype of ``x`` (the autocast dtype inside autocast).

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, or the output would be empty (a ``ValueError``).
        BackendUnavailable: The named backend cannot run this call; lists every reason.

    Source: Chen et al., Dynamic Convolution, section 3, https://arxiv.org/abs/1912.03458

    Example:
        >>> import torch
        >>> x, bank, attention = torch.randn(2, 8, 14, 14), torch.randn(4, 16, 8, 1, 1), torch.rand(2, 4, 16)
        >>> dynamic_conv2d(x, bank, attention).shape
        torch.Size([2, 16, 14, 14])
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    call = dynamic_call(x, weight, attention, bias, **options, mixing=mixing, backend=backend)
    problem, x, weight, attention, bias, window = call
    chosen = select(problem, backend)
    if problem.operator == FEATURE_MIXING:
        return chosen.run(x, weight, attention, bias, window, groups)
    if problem.operator == PER_SAMPLE:
        y = chosen.run(x, mix_kernels(weight, attention), window, groups)
    elif chosen.operator == DYNAMIC_DEPTHWISE:
        y = chosen.run(x, weight.squeeze(2), attention, window)
    else:
        y = chosen.run(x, mix_kernels(weight.squeeze(2), attention), window)
    return y if bias is None else y + mix_kernels(bias, attention)[:, :, None, None]


class DynamicCall(NamedTuple):
    """A checked call of :func:`dynamic_conv2d`: what is chosen by, and what is run with."""

    problem: Problem
    x: Tensor
    weight: Tensor
    attention: Tensor
    bias: Tensor | None
    window: Window


def dynamic_call(
    x: Tensor,
    weight: Tensor,
    attention: Tensor,
    bias: Tensor | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    mixing: str = "auto",
    backend: str = "auto",
) -> DynamicCall:
    """Check a call of :func:`dynamic_conv2d`, and settle what it mixes."""
    check_backend_name(backend)
    check_mixing(mixing)
    checks.features(x)
    for name, given in (("weight", weight), ("attention", attention), ("bias", bias)):
        if given is not None or name != "bias":
            checks.tensor(name, given)
    x, weight, attention, bias = checks.autocast(x, weight, attention, bias)
    checks.bank(x, weight, groups)
    fits = attention.dim() in (2, 3) and attention.shape[0] == x.shape[0]
    checks.companion("attention", attention, x, "(B, K) or (B, K, C_out)", fits)
    check_mixture(weight, attention)
    checks.bias(bias, weight, x)
    kernel, out_channels = weight.shape[3:], weight.shape[1]
    window = Window.of(x, kernel, stride, padding, dilation)
    operator = DYNAMIC_DEPTHWISE if x.shape[1] == out_channels == groups else PER_SAMPLE
    if mixing == "auto":  # the sum is the same either way
        alone = mixes_kernels_alone(backend, operator)
        mixing = "kernels" if alone else cheaper_mixing(x, weight, window, groups)
    operator = FEATURE_MIXING if mixing == "features" else operator
    shape = {"kernel": kernel, "window": window, "out_channels": out_channels, "groups": groups}
    return DynamicCall(Problem.of(operator, x, weight, attention, **shape), x, weight, attention, bias, window)
