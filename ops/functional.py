"""The public operators: check the arguments, cast under autocast, dispatch."""

from torch import Tensor

from ops import checks
from ops.checks import IntPair
from ops.dispatch.problem import Pair, Problem
from ops.dispatch.registry import check_backend_name, describe, select_backend
from ops.errors import ArgumentError
from ops.mixing import by_features, by_kernels, by_sample, cheaper_mixing, check_mixing, check_mixture, mix_kernels


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
        x: Features, ``(B, C, H, W)``, floating point.
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
    x, weight, geometry = _depthwise_call(x, weight, stride, padding, dilation)
    return select_backend(Problem.of(x, weight, *geometry), backend).run(x, weight, *geometry)


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
        x: Features, ``(B, C_in, H, W)``, floating point.
        weight: Kernels, ``(B, C_out, C_in/groups, kH, kW)``, same device and dtype as ``x``.
        stride: Step in pixels, one int or ``(vertical, horizontal)``.
        padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        groups: Groups of the convolution; must divide ``C_in`` and ``C_out``.
        backend: The backend of :func:`depthwise_conv2d`, used when the convolution is depthwise.

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
    check_backend_name(backend)  # a misspelt name is an error even where no backend is chosen
    checks.features(x)
    x, weight = checks.autocast(x, weight)
    if weight.dim() != 5 or weight.shape[0] != x.shape[0]:
        need = f"({x.shape[0]}, C_out, C_in/groups, kH, kW): kernels for each sample"
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}", need)
    checks.bank(x, weight, groups)
    if x.shape[1] == weight.shape[1] == groups:
        window = {"stride": stride, "padding": padding, "dilation": dilation}
        return depthwise_conv2d(x, weight.squeeze(2), **window, backend=backend)
    return by_sample(x, weight, checks.window(x, weight.shape[3:], stride, padding, dilation), groups)


def explain(
    x: Tensor,
    weight: Tensor,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    backend: str = "auto",
) -> str:
    """Say which backend would run ``depthwise_conv2d`` with these arguments, and why each other one would not.

    Args and errors as :func:`depthwise_conv2d`.

    Example:
        >>> import torch
        >>> print(explain(torch.randn(2, 8, 5, 5), torch.randn(2, 8, 3, 3), backend="eager").splitlines()[0])
        backend 'eager' runs this call
    """
    x, weight, geometry = _depthwise_call(x, weight, stride, padding, dilation)
    problem = Problem.of(x, weight, *geometry)
    return f"backend {select_backend(problem, backend).name!r} runs this call\n{describe(problem)}"


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
        x: Features, ``(B, C_in, H, W)``, floating point.
        weight: The bank, ``(K, C_out, C_in/groups, kH, kW)``, same device and dtype as ``x``.
        attention: ``(B, K)``, or per output channel ``(B, K, C_out)``.
        bias: ``(K, C_out)``, mixed by the same attention.
        stride: Step in pixels, one int or ``(vertical, horizontal)``.
        padding: Zero padding in pixels on each side, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        groups: Groups of the convolution; must divide ``C_in`` and ``C_out``.
        mixing: What is mixed: ``"kernels"`` before the convolution, ``"features"`` after one with the whole bank,
            or ``"auto"``, the cheaper by :func:`ops.mixing.cheaper_mixing`. The result is the same.
        backend: The backend of :func:`depthwise_conv2d`, used when the convolution is depthwise and kernels are
            mixed. It has no part in other calls, which are plain PyTorch.

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
    check_backend_name(backend)  # a misspelt name is an error even where no backend is chosen
    check_mixing(mixing)
    checks.features(x)
    if not isinstance(attention, Tensor):
        raise ArgumentError("attention", type(attention).__name__, "a tensor, (B, K) or (B, K, C_out)")
    x, weight, attention, bias = checks.autocast(x, weight, attention, bias)
    checks.bank(x, weight, groups)
    fits = attention.dim() in (2, 3) and attention.shape[0] == x.shape[0]
    checks.companion("attention", attention, x, "(B, K) or (B, K, C_out)", fits)
    check_mixture(weight, attention)
    if bias is not None:
        checks.companion("bias", bias, x, f"{tuple(weight.shape[:2])} (K, C_out)", bias.shape == weight.shape[:2])
    window = checks.window(x, weight.shape[3:], stride, padding, dilation)
    depthwise = x.shape[1] == weight.shape[1] == groups
    if mixing == "auto":
        mixing = cheaper_mixing(x, weight, window, groups)
    if mixing == "features":
        if depthwise and backend != "auto":
            raise ArgumentError("mixing", f"'features' with backend {backend!r}", "'kernels': a backend mixes kernels")
        return by_features(x, weight, attention, bias, window, groups)
    if depthwise:
        y = _depthwise_bank(x, weight.squeeze(2), attention, window, backend)
    else:
        y = by_kernels(x, weight, attention, window, groups)
    return y if bias is None else y + mix_kernels(bias, attention)[:, :, None, None]


def _depthwise_call(x, weight, stride, padding, dilation):
    checks.features(x)
    x, weight = checks.autocast(x, weight)
    fits = weight.dim() == 4 and weight.shape[:2] == x.shape[:2] and 0 not in weight.shape
    checks.companion("weight", weight, x, "(B, C, kH, kW), none of them 0,", fits)
    return x, weight, checks.window(x, weight.shape[2:], stride, padding, dilation)


def _depthwise_bank(x: Tensor, bank: Tensor, attention: Tensor, window: tuple[Pair, Pair, Pair], backend: str):
    """Mix the bank ``(K, C, kH, kW)`` and convolve, at once where the backend can."""
    chosen = select_backend(Problem.of(x, bank, *window, attention), backend)
    if chosen.run_bank is not None:
        return chosen.run_bank(x, bank, attention, *window)
    return chosen.run(x, mix_kernels(bank, attention), *window)
