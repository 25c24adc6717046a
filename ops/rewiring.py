"""Channels replaced by shifted copies of others, the re-allocation of SelectConv: check, choose, and plain PyTorch."""

import torch
from torch import Tensor

from ops import checks
from ops.dispatch.operators import REWIRE
from ops.dispatch.problem import Problem
from ops.dispatch.selection import select
from ops.errors import ArgumentError
from ops.layout import is_channels_last


def rewire_channels(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor, *, backend: str = "auto") -> Tensor:
    """Replace some channels by copies of others, each shifted by a distance of its own.

    Equivalent to ``x.index_copy(1, slots, moved)``, where ``moved[:, r]`` is channel ``sources[r]`` of ``x`` sampled
    bilinearly at ``(h + shift[r, 1], w + shift[r, 0])``; positions outside take the border's pixels, as with
    ``F.grid_sample(..., padding_mode="border", align_corners=False)``. All sources are read before any channel is
    replaced. Differentiable in ``x`` and ``shift``; at a whole number of pixels the derivative by the shift is that
    towards larger ones, and where both pixels are the border's it is zero. A pixel that is not finite spoils the
    pixels of a copy that lie next to it, or beyond the border repeat it, and nothing else.

    Args:
        x: Features, ``(B, C, H, W)``, floating point; ``B`` may be 0.
        slots: Channels to replace, ``(R,)``, int64, all different. On the GPU, and in compiled or traced calls of
            PyTorch's own operators, the values of ``slots`` and ``sources`` are not checked: that would wait for them.
        sources: Channels to read, ``(R,)``, int64; any number of slots may share one.
        shift: Distances in pixels, ``(R, 2)``, floating point: to the right, and down. Used in float32 (float64 where
            ``x`` is), whatever ``x`` is stored in.
        backend: ``"auto"`` or a registered name; a named backend never falls back. ``"eager"`` is plain PyTorch, which
            runs everywhere; ``"cpp"`` runs on the CPU in float32 and bfloat16 and has no second derivatives. Exported
            and traced programs hold PyTorch's own operators; TorchScript compiles :func:`ops.rewire_eager`.

    Returns:
        ``(B, C, H, W)`` in the memory format and dtype of ``x``, inside autocast too; ``x`` itself where ``R`` is 0.

    Raises:
        ArgumentError: Shapes, dtypes or devices disagree, a slot is named twice, or there is no such channel (a
            ``ValueError``).
        BackendUnavailable: The named backend cannot run this call; lists every reason.

    Source: Jeong and Shin, Training CNNs with Selective Allocation of Channels, section 3.3,
    https://arxiv.org/abs/1905.04509

    Example:
        >>> import torch
        >>> x = torch.arange(6.0).view(1, 2, 1, 3)
        >>> rewire_channels(x, torch.tensor([1]), torch.tensor([0]), torch.tensor([[0.5, 0.0]]))
        tensor([[[[0.0000, 1.0000, 2.0000]],
        <BLANKLINE>
                 [[0.5000, 1.5000, 2.0000]]]])
    """
    problem, arguments = rewire_call(x, slots, sources, shift)
    chosen = select(problem, backend)
    if slots.shape[0] == 0:
        return x
    return run_eager(*arguments) if x.shape[0] == 0 else chosen.run(*arguments)


def rewire_call(
    x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor
) -> tuple[Problem, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Check a call of :func:`rewire_channels`; return what is chosen by, and what is run with."""
    _check(x, slots, sources, shift)
    return Problem.of(REWIRE, x, shift), (x, slots, sources, shift)


def _check(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> None:
    checks.features(x)
    for name, tensor in (("slots", slots), ("sources", sources), ("shift", shift)):
        checks.tensor(name, tensor)
        if tensor.device != x.device:
            raise ArgumentError(name, f"a tensor on {tensor.device}", f"one on {x.device}, the device of x")
    for name, tensor in (("slots", slots), ("sources", sources)):
        if tensor.dim() != 1 or tensor.dtype != torch.int64:
            raise ArgumentError(name, f"shape {tuple(tensor.shape)}, {tensor.dtype}", "(R,), torch.int64")
    count = slots.shape[0]
    if sources.shape[0] != count:
        raise ArgumentError("sources", f"shape {tuple(sources.shape)}", f"({count},), one for each slot")
    if shift.dim() != 2 or shift.shape[0] != count or shift.shape[1] != 2 or not shift.is_floating_point():
        raise ArgumentError("shift", f"shape {tuple(shift.shape)}, {shift.dtype}", f"({count}, 2), floating point")


def check_channels(channels: int, slots: list[int], sources: list[int]) -> None:
    """Check the values of ``slots`` and ``sources`` for features of so many channels."""
    for name, values in (("slots", slots), ("sources", sources)):
        wrong = values if min(values) < 0 or max(values) >= channels else ()
        for value in wrong:
            if not 0 <= value < channels:
                raise ArgumentError(name, value, f"channels of x, from 0 to {channels - 1}")
    if len(set(slots)) < len(slots):
        twice = next(slot for slot in slots if slots.count(slot) > 1)
        raise ArgumentError("slots", f"{twice} twice", "channels that differ")


def run_eager(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    """Run :func:`rewire_eager`, with the channels checked where looking at them costs no waiting and no tracing."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or checks.transformed()
    if slots.device.type == "cpu" and not traced and all(map(checks.has_values, (x, slots, sources))):
        check_channels(x.shape[1], slots.tolist(), sources.tolist())
    return rewire_eager(x, slots, sources, shift)


def rewire_eager(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    """Do as :func:`rewire_channels` in plain PyTorch, which TorchScript can compile.

    A shift in either direction is a weighted sum of neighbouring lines, read by index: no matrix product, whose
    rounding on the GPU would depend on ``torch.set_float32_matmul_precision`` and in which one infinite pixel would
    spoil whole lines. Arithmetic is float32 at least, and no gradient is summed up in an order that changes from run
    to run.
    """
    count = slots.shape[0]
    if count == 0:
        return x
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    planes, distances = _take(x, 1, sources).to(dtype), shift.to(dtype)
    rows = _between(planes.permute(1, 2, 0, 3), distances[:, 1])
    columns = _between(rows.permute(0, 3, 2, 1), distances[:, 0])
    moved = columns.permute(2, 0, 3, 1)
    last = is_channels_last(x)  # index_copy itself would return NCHW
    out = x.clone(memory_format=torch.channels_last if last else torch.contiguous_format)
    return out.index_copy_(1, slots, moved.to(x.dtype))


def _between(lines: Tensor, distance: Tensor) -> Tensor:
    """Return ``(R, N, B, M)``: what lies in ``lines (R, N, B, M)`` at i + distance[r] for each of the N lines i."""
    _, size, batch, length = lines.shape
    whole = distance.floor()
    part = (distance - whole)[:, None, None, None]  # no number where the distance is none, whatever is read
    places = torch.arange(size + 1, device=lines.device, dtype=distance.dtype) + whole.detach()[:, None]
    places = places.clamp(0, size - 1).nan_to_num(0.0).to(torch.int64)
    if torch.jit.is_scripting():
        read = _take_lines(lines, places)
    elif torch.compiler.is_exporting():  # merged with the pixels, a batch of any size would never be one sample
        read = lines.gather(1, places[:, :, None, None].expand(-1, -1, batch, length))
    else:
        read = _take_lines(lines, places)
    near = read[:, :-1]
    return near + (read[:, 1:] - near) * part


def _take_lines(lines: Tensor, places: Tensor) -> Tensor:
    """Return ``(R, P, B, M)``: for each r the lines of ``lines (R, N, B, M)`` at ``places (R, P)``."""
    count, size, batch, length = lines.shape
    flat = places + size * torch.arange(count, device=lines.device)[:, None]
    read = _take(lines.reshape(count * size, batch * length), 0, flat.flatten())
    return read.reshape(count, places.shape[1], batch, length)


def _take(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Read along dimension 0 or 1; the gradient is summed up in a fixed order."""
    # Indexing has such a gradient on the GPU, index_select on the CPU, where it is the faster one as well.
    if x.is_cuda:
        return x[index] if dim == 0 else x[:, index]
    return x.index_select(dim, index)
