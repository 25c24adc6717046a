"""Tensors for property tests: any values laid out in memory in any way, and how exact a result has to be."""

from collections.abc import Callable

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _sliced(t: Tensor) -> Tensor:
    """Return a slice of a larger tensor whose other values are no numbers, so that whoever reads them is found out."""
    whole = torch.full([n + 3 for n in t.shape], torch.nan, dtype=t.dtype)
    part = whole[tuple(slice(1, n + 1) for n in t.shape)]
    return part.copy_(t)


def _stepped(t: Tensor) -> Tensor:
    whole = torch.full([*t.shape[:-1], 2 * t.shape[-1] + 1], torch.nan, dtype=t.dtype)
    return whole[..., 1::2].copy_(t)


def _unaligned(t: Tensor) -> Tensor:
    return torch.full((t.numel() + 1,), torch.nan, dtype=t.dtype)[1:].view(t.shape).copy_(t)


def _expanded(dim: int) -> Callable[[Tensor], Tensor]:
    def expand(t: Tensor) -> Tensor:
        dim_ = min(dim, t.dim() - 1)
        return t.narrow(dim_, 0, 1).expand(t.shape) if t.shape[dim_] else t

    return expand


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "dense": lambda t: t,
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t,
    "transposed": lambda t: t.mT.contiguous().mT if t.dim() > 1 else t,
    "reversed": lambda t: t.permute(*reversed(range(t.dim()))).contiguous().permute(*reversed(range(t.dim()))),
    "sliced": _sliced,
    "sliced_channels_last": lambda t: _sliced(t.movedim(1, -1)).movedim(-1, 1) if t.dim() > 1 else t,
    "stepped": _stepped,
    "unaligned": _unaligned,
    "expanded_batch": _expanded(0),
    "expanded_second": _expanded(1),
    "expanded_last": _expanded(9),
    "negated": lambda t: torch._neg_view(-t),  # its sign is a note beside the values
    "negated_channels_last": lambda t: torch._neg_view(-LAYOUTS["channels_last"](t)),
}


def draw(shape: tuple[int, ...], dtype: torch.dtype, layout: str, generator: torch.Generator) -> Tensor:
    """Draw a leaf of this shape; some layouts repeat values."""
    values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    t = LAYOUTS[layout](values).detach()
    assert t.shape == torch.Size(shape)
    return t


def exact(t: Tensor | None) -> Tensor | None:
    """Return a tensor in float64, dense."""
    return None if t is None else t.detach().double().clone(memory_format=torch.contiguous_format)


def magnitude(t: Tensor | None) -> Tensor | None:
    return None if t is None else exact(t).abs()


def check_close(name: str, found: Tensor, want: Tensor, bound: Tensor, roundings: int) -> None:
    """Hold a result to its exact value, element by element.

    ``bound`` is the same result of all arguments' magnitudes: the sum of the magnitudes of everything that was added.
    What a sum in floating point may be off by is a share of that, which the sum itself may be much smaller than. The
    share is 1e-5 in float32, as in the other tests of the operators, 1e-12 in float64, and, in half precision, half a
    unit in the last place for each of ``roundings`` values between the arguments and the result, beside the result's
    own.
    """
    assert found.shape == want.shape, f"{name}: shape {tuple(found.shape)}, need {tuple(want.shape)}"
    if want.numel() == 0:
        return
    found = found.detach()
    assert found.isfinite().all(), f"{name}: not finite"
    unit = torch.finfo(found.dtype).eps / 2
    share = 1e-12 if found.dtype == torch.float64 else 1e-5
    limit = share * bound + 1e-2 * share * bound.max()
    if unit > 1e-5:
        limit = limit + unit * want.abs() + roundings * unit * bound + torch.finfo(found.dtype).smallest_normal * 1e-2
    error = (found.double() - want).abs()
    worst = (error - limit).argmax()
    assert (error <= limit).all(), (
        f"{name}: off by {error.flatten()[worst]:.3g}, at most {limit.flatten()[worst]:.3g} allowed, "
        f"got {found.flatten()[worst]:.6g}, need {want.flatten()[worst]:.6g}"
    )
