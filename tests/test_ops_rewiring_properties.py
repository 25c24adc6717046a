"""Re-wired channels over all arguments; see test_ops_functional_properties.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.backends import able
from support.property_checks import CPP_DTYPES
from support.property_convolutions import BATCHES, CHANNELS, PIXELS
from support.property_settings import cases
from support.property_tensors import DTYPES, LAYOUTS, check_close, draw, exact, magnitude
from torch import Tensor

import ops
from ops.layout import is_channels_last, memory_format


@st.composite
def shifts(draw_, channels: int):
    """Draw which channels are replaced by which, and how far each copy is shifted."""
    slots = draw_(st.lists(st.integers(0, channels - 1), unique=True, max_size=6))
    sources = [draw_(st.integers(0, channels - 1)) for _ in slots]
    one = st.one_of(
        st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.25, -0.0]),
        st.floats(-4, 4, width=32),
        st.sampled_from([40.0, -40.0, 1e9, -1e30]),
    )
    return slots, sources, [[draw_(one), draw_(one)] for _ in slots]


def rewired(x: Tensor, slots: Tensor, sources: Tensor, shift: Tensor) -> Tensor:
    """Define :func:`ops.rewire_channels`, slot by slot."""

    def between(lines: Tensor, distance: Tensor) -> Tensor:
        last, whole = lines.shape[1] - 1, distance.detach().floor()
        places = (torch.arange(last + 1) + whole).clamp(-1, last + 1).long()
        near, far = (lines.index_select(1, (places + i).clamp(0, last)) for i in (0, 1))
        return near + (far - near) * (distance - whole)

    planes = list(x.unbind(1))
    for slot, source, (right, down) in zip(slots.tolist(), sources.tolist(), shift):
        planes[slot] = between(between(x[:, source], down).mT, right).mT
    return torch.stack(planes, 1)


@cases(0.09)
@given(st.data())
def test_rewire_channels(data):
    batch, channels, seed = data.draw(BATCHES), data.draw(CHANNELS), data.draw(st.integers(0, 2**20))
    size, dtype = (data.draw(PIXELS), data.draw(PIXELS)), data.draw(st.sampled_from(DTYPES))
    slots, sources, distances = data.draw(shifts(channels))
    backend, asks = (
        data.draw(st.sampled_from(["auto", *able("rewire_channels")])),
        data.draw(st.sets(st.integers(0, 1))),
    )
    layouts = [data.draw(st.sampled_from([*LAYOUTS])) for _ in range(2)]
    generator = torch.Generator().manual_seed(seed)
    x = draw((batch, channels, *size), dtype, layouts[0], generator).requires_grad_(0 in asks)
    slots, sources = torch.tensor(slots, dtype=torch.int64), torch.tensor(sources, dtype=torch.int64)
    shift = torch.tensor(distances, dtype=data.draw(st.sampled_from([torch.float32, torch.float64, dtype])))
    shift = shift.reshape(-1, 2).clamp(-6e4, 6e4)
    shift = LAYOUTS[data.draw(st.sampled_from(["dense", "negated", "transposed"]))](shift).requires_grad_(1 in asks)
    try:
        y = ops.rewire_channels(x, slots, sources, shift, backend=backend)
    except ops.BackendUnavailable:
        assert backend == "cpp"
        assert dtype not in CPP_DTYPES
        return
    assert y.dtype == dtype
    if not len(slots):
        assert y is x
        return
    assert y.is_contiguous(memory_format=memory_format(is_channels_last(x)))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    used = shift.detach().to(wide).double().requires_grad_(1 in asks)
    wanted, most = exact(x).requires_grad_(0 in asks), magnitude(x).amax() if x.numel() else torch.zeros(())
    want = rewired(wanted, slots, sources, used)
    check_close("output", y, want.detach(), most.expand(want.shape), 0)
    if asks:
        toward = draw(tuple(y.shape), dtype, layouts[1], generator)
        found = torch.autograd.grad(y, [t for t in (x, shift) if t.requires_grad], toward)
        right = torch.autograd.grad(want, [t for t in (wanted, used) if t.requires_grad], exact(toward))
        total = magnitude(toward).sum() * max(1.0, float(most))
        for gradient, value in zip(found, right, strict=True):
            summed = gradient.to(wide) if gradient.dtype.itemsize > wide.itemsize else gradient
            check_close("gradient", summed, value, total.expand(value.shape), 1)


@pytest.mark.parametrize("backend", able("rewire_channels"))
@pytest.mark.parametrize("layout", ["transposed", "negated", "negated_channels_last"])
def test_layouts_that_were_once_wrong(layout, backend):
    x = draw((2, 3, 4, 5), torch.float32, layout, torch.Generator().manual_seed(0)).requires_grad_()
    shift = torch.tensor([[0.5, -0.25]], requires_grad=True)
    y = ops.rewire_channels(x, torch.tensor([1]), torch.tensor([0]), shift, backend=backend)
    assert y.is_contiguous(memory_format=memory_format(is_channels_last(x)))
    torch.testing.assert_close(y, rewired(x, torch.tensor([1]), torch.tensor([0]), shift))
