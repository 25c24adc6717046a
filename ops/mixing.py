"""Two ways to one dynamic convolution: mix the kernels and convolve, or convolve with each kernel and mix the maps.

Both are linear in the kernels, so the result is the same (DyNet's Eq. 1 and Eq. 2, https://arxiv.org/abs/2004.10694);
what they cost is not.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ops import checks
from ops.errors import ArgumentError, unknown_name
from ops.folding import fold_batch
from ops.layout import in_format_of, is_channels_last
from ops.window import Window

MIXINGS = ("auto", "kernels", "features")


def check_mixing(name: str, names: tuple[str, ...] = MIXINGS) -> str:
    """Return ``name`` if it is one of ``names``; raise :class:`ArgumentError` with suggestions if not."""
    if not isinstance(name, str):
        raise ArgumentError("mixing", repr(name), "one of " + ", ".join(map(repr, names)))
    if name not in names:
        raise unknown_name("mixing", name, names)
    return name


def cheaper_mixing(x: Tensor, weight: Tensor, window: Window, groups: int) -> str:
    """Return ``"kernels"`` or ``"features"``, what ``"auto"`` mixes; arguments as in :func:`ops.dynamic_conv2d`.

    Cost of one output channel of one sample in multiply-adds, with K kernels of n taps and P output pixels: mixing
    kernels takes ``P * n`` for the convolution and about ``T * n`` to make a kernel that serves a single sample;
    mixing features takes ``K * P * n`` for the convolution and about ``32 * K * P`` to pass over K maps. T was fitted
    to 733 timings on one CPU thread in float32 (batch 1 to 128, K of 2, 4 and 8, 1 to 3,136 pixels, pointwise, 3x3
    and grouped, both layouts, forward and backward): the rule takes the faster way in 88 % of them and 4 % more time
    than the faster way on average, where always mixing kernels takes 49 %; at worst 3.5 times, training on single
    samples. Half precision and GPUs were not measured and follow the same rule.

    Larger batches would bear a larger T; they share one from two samples on, so that a compiled graph serves them
    all. Depthwise convolutions always mix kernels: backends do.
    """
    kernels, out_channels, taps = weight.shape[0], weight.shape[1], weight[0, 0].numel()
    if x.shape[1] == out_channels == groups:
        return "kernels"
    if x.shape[0] == 1:
        per_tap = 8  # the one mixed kernel stays in the cache
    elif _is_pointwise(weight, groups) and not is_channels_last(x):
        per_tap = 40  # features come as a matrix product of channels_last, with copies there and back
    else:
        per_tap = 80
    rows, columns = window.output_size(x.shape[2:], weight.shape[3:])
    pixels = _as_traced(rows * columns)
    return "features" if kernels * pixels * (taps + 32) < (pixels + per_tap) * taps else "kernels"


def _as_traced(size: int) -> int:
    """Return a size; while a program is exported, the number that it was traced with.

    A comparison with a symbol would limit the program to the sizes for which it comes out the same.
    """
    if not torch.compiler.is_exporting() or torch.compiler.is_dynamo_compiling():
        return size
    return getattr(getattr(size, "node", None), "hint", None) or size


def mix_kernels(weight: Tensor, attention: Tensor) -> Tensor:
    """Mix a bank of kernels for each sample.

    Equivalent to ``torch.einsum("bko,koihw->boihw", attention, weight)``, with the attention shared by all output
    channels when it is ``(B, K)``.

    Args:
        weight: The bank, ``(K, C_out, C_in/groups, kH, kW)``; any ``(K, C_out, ...)`` works, a bias ``(K, C_out)``
            included.
        attention: ``(B, K)``, or per output channel ``(B, K, C_out)``.

    Returns:
        ``(B, C_out, C_in/groups, kH, kW)``.

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, or a size is 0.

    Source: Chen et al., Dynamic Convolution, section 3, https://arxiv.org/abs/1912.03458

    Example:
        >>> import torch
        >>> mix_kernels(torch.randn(4, 8, 1, 3, 3), torch.rand(2, 4)).shape
        torch.Size([2, 8, 1, 3, 3])
    """
    checks.tensor("weight", weight)
    checks.tensor("attention", attention)
    weight, attention = checks.autocast(weight, attention)
    check_mixture(weight, attention)
    kernels, out_channels = weight.shape[:2]
    batch = attention.shape[0]
    if attention.dim() == 2:
        return (attention @ weight.flatten(1)).view(batch, *weight.shape[1:])
    if weight.device.type == "cpu" and weight.dtype.itemsize >= 4 and not _needs_grad(weight, attention):
        # The products below pay for the gradient of the bank; without it, one pass per kernel beats their copies (but
        # in 16 bits each pass would round).
        per_kernel = attention.reshape(*attention.shape, *(1,) * (weight.dim() - 2)).unbind(1)
        mixed = per_kernel[0] * weight[0]
        for k in range(1, kernels):
            mixed.addcmul_(per_kernel[k], weight[k])
        return mixed
    # One small matrix product per output channel, (C_out, B, K) @ (C_out, K, rest). The copies pay: on strided
    # operands PyTorch's CPU bmm copies every slice by itself, three times slower forward and backward.
    bank = weight.reshape(kernels, out_channels, -1).transpose(0, 1).contiguous()
    mixed = torch.bmm(attention.permute(2, 0, 1).contiguous(), bank)
    return mixed.transpose(0, 1).contiguous().view(batch, *weight.shape[1:])


def check_mixture(weight: Tensor, attention: Tensor) -> None:
    """Check that ``attention`` can mix the bank ``(K, C_out, ...)``."""
    if weight.dim() < 2 or weight.dtype not in checks.FLOATING or 0 in weight.shape:
        need = "(K, C_out, ...), none of them 0, floating point of 16 bits or more"
        raise ArgumentError("weight", f"shape {tuple(weight.shape)}, {weight.dtype}", need)
    if attention.dtype != weight.dtype or attention.device != weight.device:
        need = f"{weight.dtype} on {weight.device}, the dtype and device of the bank"
        raise ArgumentError("attention", f"{attention.dtype} on {attention.device}", need)
    kernels, out_channels = weight.shape[:2]
    if attention.shape[1:] not in ((kernels,), (kernels, out_channels)):
        raise ArgumentError(
            "attention",
            f"shape {tuple(attention.shape)}",
            f"(B, {kernels}) or (B, {kernels}, {out_channels}) for a bank of shape {tuple(weight.shape)}",
        )


def by_sample(x: Tensor, kernels: Tensor, window: Window, groups: int) -> Tensor:
    """Convolve each sample with its own kernels; arguments as in :func:`ops.per_sample_conv2d`."""
    if _is_pointwise(kernels, groups):
        return _pointwise(x, kernels.flatten(2), window)
    return _per_sample(x, kernels, window, groups)


def by_features(
    x: Tensor, weight: Tensor, attention: Tensor, bias: Tensor | None, window: Window, groups: int
) -> Tensor:
    """Convolve with the whole bank, then mix the K maps of each output channel; bias included."""
    kernels, out_channels = weight.shape[:2]
    channels_last = is_channels_last(x)

    def by_group(t: Tensor) -> Tensor:
        """Reorder ``(K, C_out, ...)`` so that the outputs of each group, of all kernels, follow one another."""
        return t.unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 2)

    bank, biases = by_group(weight), None if bias is None else by_group(bias)
    pointwise = _is_pointwise(weight, groups)
    if pointwise:
        # One matrix product whatever the memory format: the images that this way suits are small enough to copy, and
        # a 1x1 convolution's gradients take up to three times as long.
        y = F.linear(_sampled(x, window).permute(0, 2, 3, 1), bank.flatten(1), biases).permute(0, 3, 1, 2)
    else:
        y = F.conv2d(x, bank, biases, *window, groups)
    maps = y.unflatten(1, (groups, kernels, -1))  # (B, groups, K, C_out/groups, H', W')
    if attention.dim() == 2:
        attention = attention.unsqueeze(-1).expand(-1, -1, out_channels)
    shares = attention.unflatten(2, (groups, -1)).transpose(1, 2)[..., None, None]
    if (pointwise or channels_last) and y.dtype.itemsize >= 4:  # in 16 bits each pass would round
        # One pass per kernel: a sum over K is several times slower where the channel is the fastest dimension.
        each_map, each_share = maps.unbind(2), shares.unbind(2)
        mixed = each_map[0] * each_share[0]
        for k in range(1, kernels):
            mixed.addcmul_(each_map[k], each_share[k])
    else:
        mixed = (maps * shares).sum(2)
    return in_format_of(mixed.flatten(1, 2), x)


def _is_pointwise(weight: Tensor, groups: int) -> bool:
    return groups == 1 and weight.shape[3:] == (1, 1)


def _sampled(x: Tensor, window: Window) -> Tensor:
    """Return the pixels of ``x`` that a 1x1 kernel meets."""
    (rows, columns), stride = window.padding, window.stride
    if (rows, columns) != (0, 0):
        x = F.pad(x, (columns, columns, rows, rows))
    return x if stride == (1, 1) else x[:, :, :: stride[0], :: stride[1]]


def _pointwise(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Multiply each sample's pixels by its own matrix ``(B, C_out, C_in)``, without a change of memory format."""
    x = _sampled(x, window)
    rows, columns = x.shape[2:]
    if is_channels_last(x):
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        return torch.bmm(pixels, kernels.transpose(1, 2)).unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
    return torch.bmm(kernels, x.flatten(2)).unflatten(2, (rows, columns))


def _per_sample(x: Tensor, kernels: Tensor, window: Window, groups: int) -> Tensor:
    """Convolve sample b with ``kernels[b]`` of ``(B, C_out, C_in/groups, kH, kW)``, in the memory format of ``x``."""
    batch = kernels.shape[0]
    if batch == 1:
        y = F.conv2d(x, kernels[0], None, *window, groups)
    elif is_channels_last(x) and _one_by_one(x, kernels):
        y = torch.cat([F.conv2d(x[n : n + 1], kernels[n], None, *window, groups) for n in range(batch)])
    else:
        return fold_batch(x, kernels, window, groups)  # which works on NCHW
    return in_format_of(y, x)


def _one_by_one(x: Tensor, kernels: Tensor) -> bool:
    """Tell whether a convolution per sample beats one of NCHW and the conversions there and back.

    Measured on the CPU from 32x32 pixels on, by a fifth to a half, and only without gradients. A compiled graph would
    hold as many convolutions as the batch that it was traced with had samples.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or _needs_grad(x, kernels):
        return False
    return x.shape[2] * x.shape[3] >= 1024


def _needs_grad(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
