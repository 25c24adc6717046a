"""Channels replaced by shifted copies of others, the re-allocation of SelectConv: check, choose, and plain PyTorch."""

import torch
from torch import Tensor

from ops import checks
from ops.backends.cpp import rewire as rewiring_cpp
from ops.dispatch.registry import chosen_state
from ops.errors import ArgumentError, BackendUnavailable, unknown_name

BACKENDS = ("auto", "cpp", "eager")
_PLAIN = (Tensor, torch.nn.Parameter)  # others, such as fake tensors, have no values to look at


def rewire_channels(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor, *, backend: str = "auto") -> Tensor:
    """Replace some channels by copies of others, each shifted by a distance of its own.

    Equivalent to ``x.index_copy(1, slots, moved)``, where ``moved[:, r]`` is channel ``sources[r]`` of ``x`` sampled
    bilinearly at ``(h + shift[r, 1], w + shift[r, 0])``; positions outside take the border's pixels, as with
    ``F.grid_sample(..., padding_mode="border", align_corners=False)``. All sources are read before any channel is
    replaced. Differentiable in ``x`` and ``shift``; at a whole number of pixels the derivative by the shift is that
    towards larger ones, and where both pixels are the border's it is zero. A pixel that is not finite spoils the
    pixels of a copy that lie next to it, or beyond the border repeat it, and nothing else.

    Args:
        x: Features, ``(B, C, H, W)``, floating point.
        slots: Channels to replace, ``(R,)``, int64, all different. On the GPU, and in compiled or traced calls of
            PyTorch's own operators, the values of ``slots`` and ``sources`` are not checked: that would wait for them.
        sources: Channels to read, ``(R,)``, int64; any number of slots may share one.
        shift: Distances in pixels, ``(R, 2)``, floating point: to the right, and down. Used in float32 (float64 where
            ``x`` is), whatever ``x`` is stored in.
        backend: ``"auto"``, ``"eager"`` (plain PyTorch, runs everywhere) or ``"cpp"`` (the CPU in float32 and
            bfloat16; has no second derivatives). :func:`ops.use_backend` of one of these holds for ``"auto"``; any
            other name there has no form of this operator and changes nothing. Exported and traced programs hold
            PyTorch's own operators; TorchScript compiles :func:`ops.rewiring.rewire_eager`.

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
    _check(x, slots, sources, shift)
    chosen = _choose(x, backend)
    if slots.shape[0] == 0:
        return x
    if chosen == "cpp":
        return _run_cpp(x, slots, sources, shift.to(torch.float32))
    if slots.device.type == "cpu" and not _traced() and all(type(t) in _PLAIN for t in (x, slots, sources)):
        _check_values(x.shape[1], slots.tolist(), sources.tolist())
    return rewire_eager(x, slots, sources, shift)


def _check(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> None:
    checks.features(x)
    for name, tensor in (("slots", slots), ("sources", sources), ("shift", shift)):
        if not isinstance(tensor, Tensor):
            raise ArgumentError(name, type(tensor).__name__, "a tensor")
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


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or checks.transformed()


def _run_cpp(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return torch.ops.dyc.rewire(x, slots, sources, shift)
    try:
        return torch.ops.dyc.rewire(x, slots, sources, shift)
    except ValueError:  # the operator looks at all values itself, sooner than Python could
        _check_values(x.shape[1], slots.tolist(), sources.tolist())
        raise


def _check_values(channels: int, slots: list[int], sources: list[int]) -> None:
    for name, values in (("slots", slots), ("sources", sources)):
        wrong = values if min(values) < 0 or max(values) >= channels else ()
        for value in wrong:
            if not 0 <= value < channels:
                raise ArgumentError(name, value, f"channels of x, from 0 to {channels - 1}")
    if len(set(slots)) < len(slots):
        twice = next(slot for slot in slots if slots.count(slot) > 1)
        raise ArgumentError("slots", f"{twice} twice", "channels that differ")


def _choose(x: Tensor, backend: str) -> str:
    """Return ``"eager"`` or ``"cpp"``."""
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    name = chosen_state()[0] if backend == "auto" else backend
    if name == "eager":
        return name
    reasons = rewiring_cpp.unmet(x)
    if name != "cpp":  # another one has no part in this operator
        leaves = torch.compiler.is_exporting() or (not torch.compiler.is_compiling() and torch.jit.is_tracing())
        return "eager" if leaves or reasons or rewiring_cpp.failure() else "cpp"
    failed = () if reasons else rewiring_cpp.failure()
    if reasons or failed:
        raise BackendUnavailable("backend 'cpp' cannot run rewire_channels: " + "; ".join((*reasons, *failed)))
    return name


def rewire_eager(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    """Do as :func:`rewire_channels` in plain PyTorch, which TorchScript can compile.

    A shift in either direction is a weighted sum of neighbouring lines, read by index: no matrix product, whose
    rounding on the GPU would depend on ``torch.set_float32_matmul_precision`` and in which one infinite pixel would
    spoil whole lines. Arithmetic is float32 at least, and no gradient is summed up in an order that changes from run
    to run.
    """
    count, (batch, _, height, width) = slots.shape[0], x.shape
    if count == 0:
        return x
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    planes, distances = _take(x, 1, sources).to(dtype), shift.to(dtype)
    rows = planes.permute(1, 2, 0, 3).reshape(count, height, batch * width)
    rows = _between(rows, distances[:, 1]).reshape(count, height, batch, width)
    columns = rows.permute(0, 3, 2, 1).reshape(count, width, batch * height)
    columns = _between(columns, distances[:, 0]).reshape(count, width, batch, height)
    moved = columns.permute(2, 0, 3, 1)
    out = x.clone()  # index_copy itself would return NCHW
    return out.index_copy_(1, slots, moved.to(x.dtype))


def _between(lines: Tensor, distance: Tensor) -> Tensor:
    """Return ``(R, N, M)``: what lies in ``lines (R, N, M)`` at i + distance[r] for each of the N lines i."""
    _, size, length = lines.shape
    whole = distance.floor()
    part = (distance - whole)[:, None, None]  # no number where the distance is none, whatever is read
    places = torch.arange(size + 1, device=lines.device, dtype=distance.dtype) + whole.detach()[:, None]
    places = places.clamp(0, size - 1).nan_to_num(0.0).to(torch.int64)
    if torch.jit.is_scripting():
        read = _take_lines(lines, places)
    elif torch.compiler.is_exporting():  # PyTorch 2.11 cannot merge dimensions where there is any number of samples
        read = lines.gather(1, places[:, :, None].expand(-1, -1, length))
    else:
        read = _take_lines(lines, places)
    near = read[:, :-1]
    return near + (read[:, 1:] - near) * part


def _take_lines(lines: Tensor, places: Tensor) -> Tensor:
    """Return ``(R, P, M)``: for each r the lines of ``lines (R, N, M)`` at ``places (R, P)``."""
    count, size, length = lines.shape
    flat = places + size * torch.arange(count, device=lines.device)[:, None]
    return _take(lines.reshape(count * size, length), 0, flat.flatten()).reshape(count, places.shape[1], length)


def _take(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Read along dimension 0 or 1; the gradient is summed up in a fixed order."""
    # Indexing has such a gradient on the GPU, index_select on the CPU, where it is the faster one as well.
    if x.is_cuda:
        return x[index] if dim == 0 else x[:, index]
    return x.index_select(dim, index)
