"""Attention over more than kernels: what a branch may return besides the weights that mix the bank."""

from typing import NamedTuple

from torch import Tensor

from ops import checks
from ops.dispatch.operators import PER_SAMPLE
from ops.dispatch.registry import check_backend_name, mixes_kernels_alone
from ops.errors import ArgumentError
from ops.functional import dynamic_conv2d, per_sample_conv2d
from ops.mixing import cheaper_mixing, check_mixing, check_mixture, mix_kernels
from ops.window import IntPair, Window


class KernelAttention(NamedTuple):
    """The weights of one dynamic convolution: of its kernels, its input channels and its taps.

    ``F.conv2d(x[n] * inputs[n, :, None, None], taps[n] * W[n], b[n])`` with ``W`` and ``b`` the mixtures of the bank
    and of the biases by ``kernels``. Factors left out are one.

    Args:
        kernels: ``(B, K)``, or per output channel ``(B, K, C_out)``.
        inputs: ``(B, C_in)``, scales the input channels.
        taps: ``(B, kH, kW)``, scales the taps of the mixed kernels.

    Example:
        >>> import torch
        >>> KernelAttention(torch.rand(2, 4), taps=torch.rand(2, 3, 3)).inputs is None
        True
    """

    kernels: Tensor
    inputs: Tensor | None = None
    taps: Tensor | None = None


def scaled_conv2d(
    x: Tensor,
    weight: Tensor,
    attention: KernelAttention,
    bias: Tensor | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    mixing: str = "auto",
    backend: str = "auto",
) -> Tensor:
    """Convolve as :func:`ops.dynamic_conv2d`, with input channels and taps scaled too.

    Each factor goes where it costs least: into the attention (inputs of depthwise convolutions, taps of 1x1
    kernels), else into the features or the mixed kernels, whichever are smaller.

    Args:
        x: Features, ``(B, C_in, H, W)``, floating point; ``B`` may be 0.
        weight: The bank, ``(K, C_out, C_in/groups, kH, kW)``.
        attention: The weights.
        bias: ``(K, C_out)``, mixed by ``attention.kernels``.
        stride: As :func:`ops.dynamic_conv2d`, like all that follow.

    Returns:
        ``(B, C_out, H', W')`` in the memory format of ``x``.

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, or features are to be mixed where taps are scaled.
        BackendUnavailable: The named backend cannot run this call; lists every reason.
    """
    check_backend_name(backend)
    check_mixing(mixing)
    checks.features(x)
    checks.tensor("weight", weight)
    if bias is not None:
        checks.tensor("bias", bias)
    x, weight, kernels, inputs, taps, bias = checks.autocast(x, weight, *_tensors(attention), bias)
    checks.bank(x, weight, groups)
    _check_weights(x, weight, kernels, inputs, taps)
    checks.bias(bias, weight, x)
    window = Window.of(x, weight.shape[3:], stride, padding, dilation)
    options = {"stride": window.stride, "padding": window.padding, "dilation": window.dilation}
    options |= {"groups": groups, "backend": backend}
    (in_channels, *size), (out_channels, *kernel) = x.shape[1:], weight.shape[1:]
    shares = kernels
    if taps is not None and kernel[1:] == [1, 1]:
        shares, taps = _times(shares, taps.flatten(1)), None
    if taps is not None and mixing == "features":
        raise ArgumentError("mixing", "'features' with weights of taps", "'kernels' or 'auto', as taps scale kernels")
    if inputs is not None and taps is None and kernel[0] == 1:  # each output channel sees a single input channel
        shares, inputs = _times(shares, inputs.repeat_interleave(out_channels // in_channels, 1)), None
    scales_kernels = taps is not None
    if inputs is not None and taps is None and out_channels // groups * kernel[1] * kernel[2] < size[0] * size[1]:
        # The mixed kernels are smaller than the features, if kernels are mixed at all.
        if mixing == "auto":
            alone = mixes_kernels_alone(backend, PER_SAMPLE)
            mixing = "kernels" if alone else cheaper_mixing(x, weight, window, groups)
        scales_kernels = mixing == "kernels"
    if scales_kernels:
        mixed = _scale_kernels(mix_kernels(weight, shares), inputs, taps, groups)
        y = per_sample_conv2d(x, mixed, **options)
    else:
        if inputs is not None:
            x = x * inputs[:, :, None, None]
        y = dynamic_conv2d(x, weight, shares, **options, mixing=mixing)
    return y if bias is None else y + mix_kernels(bias, kernels)[:, :, None, None]


def _tensors(attention: KernelAttention) -> KernelAttention:
    if not isinstance(attention, KernelAttention):
        raise ArgumentError("attention", type(attention).__name__, "an ops.KernelAttention")
    for name, value in zip(attention._fields, attention):
        if value is not None or name == "kernels":
            checks.tensor(f"attention.{name}", value)
    return attention


def _check_weights(x: Tensor, weight: Tensor, kernels: Tensor, inputs: Tensor | None, taps: Tensor | None) -> None:
    """Check what an attention returned against the features and the bank."""
    batch, in_channels = x.shape[:2]
    fits = kernels.dim() in (2, 3) and kernels.shape[0] == batch
    checks.companion("attention.kernels", kernels, x, "(B, K) or (B, K, C_out)", fits)
    check_mixture(weight, kernels)
    # Texts without the batch size: formatting it would make torch.compile compile anew for each.
    if inputs is not None:
        fits = inputs.shape == (batch, in_channels)
        checks.companion("attention.inputs", inputs, x, f"(B, {in_channels})", fits)
    if taps is not None:
        rows, columns = weight.shape[3:]
        fits = taps.shape == (batch, rows, columns)
        checks.companion("attention.taps", taps, x, f"(B, {rows}, {columns})", fits)


def _times(kernels: Tensor, factor: Tensor) -> Tensor:
    """Multiply ``(B, K)`` or ``(B, K, C_out)`` by ``(B, 1)`` or ``(B, C_out)``."""
    if kernels.dim() == 2 and factor.shape[1] == 1:
        return kernels * factor
    return (kernels if kernels.dim() == 3 else kernels.unsqueeze(2)) * factor.unsqueeze(1)


def _scale_kernels(kernels: Tensor, inputs: Tensor | None, taps: Tensor | None, groups: int) -> Tensor:
    """Multiply mixed kernels ``(B, C_out, C_in/groups, kH, kW)`` by what is given, in one pass."""
    scale = None if inputs is None else inputs.unflatten(1, (groups, 1, -1, 1, 1))
    if taps is not None:
        by_tap = taps[:, None, None, None]
        scale = by_tap if scale is None else scale * by_tap
    return (kernels.unflatten(1, (groups, -1)) * scale).flatten(1, 2)
