"""Channels replaced by shifted copies of others: both backends against the float64 formula, and other definitions."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from support.backends import able

import ops
from ops.backends.cpp.build import compiler

needs_cpp = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")
BACKENDS = able("rewire_channels")


@dataclass(frozen=True)
class Case:
    """One call; ``slots`` and ``sources`` as many numbers, or drawn: that many slots and sources."""

    name: str
    x: tuple[int, int, int, int] = (3, 20, 9, 7)
    slots: tuple[int, ...] | int = 6
    sources: tuple[int, ...] | int = 3
    reach: float = 1.5  # pixels
    whole: bool = False
    last: bool = True
    sliced: bool = False
    expanded: bool = False
    frozen: str = ""

    def draw(self, dtype: torch.dtype):
        """Return x, slots, sources and shift, and the gradient of the output."""
        batch, channels, height, width = self.x
        x = torch.randn(batch, channels + 2, height, width + 1) if self.sliced else torch.randn(self.x)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last if self.last else torch.contiguous_format)
        x = x[:, 1:-1, :, 1:] if self.sliced else x
        order = torch.randperm(channels)
        slots = order[: self.slots] if isinstance(self.slots, int) else torch.tensor(self.slots)
        sources = self.sources
        if isinstance(sources, int):
            sources = order[len(slots) :][:sources][torch.randint(sources, (len(slots),))]
        sources = torch.as_tensor(sources)
        shift = (torch.rand(len(slots), 2) * 2 - 1) * self.reach
        shift = shift.round() if self.whole else shift
        grad = torch.randn(batch, 1, 1, width).expand(self.x) if self.expanded else torch.randn(self.x)
        x.requires_grad_(self.frozen != "x")
        return x, slots, sources, shift.requires_grad_(self.frozen != "shift"), grad.to(dtype)


ANY = (
    Case("usual"),
    Case("nchw", last=False),
    Case("one_channel", x=(2, 1, 5, 4), slots=(0,), sources=(0,)),
    Case("one_pixel", x=(2, 20, 1, 1)),
    Case("one_row", x=(2, 20, 1, 9), reach=4),
    Case("one_column", x=(2, 20, 9, 1), reach=4),
    Case("one_image", x=(1, 20, 12, 5)),
    Case("one_image_nchw", x=(1, 20, 12, 5), last=False),
    Case("wide", x=(2, 36, 5, 70), slots=17, reach=3),
    Case("as_wide_as_vectors", x=(2, 35, 6, 32), slots=16),
    Case("as_wide_as_vectors_nchw", x=(2, 5, 6, 32), slots=2, last=False),
    Case("more_rows_than_a_tile", x=(2, 90, 40, 33), slots=50),
    Case("few_channels", x=(3, 7, 6, 5), slots=3, sources=2),
    Case("beyond_the_image", reach=40),
    Case("beyond_the_image_nchw", reach=40, last=False),
    Case("far_beyond_the_image", reach=1e30),
    Case("whole_pixels", reach=3, whole=True),
    Case("whole_pixels_nchw", reach=3, whole=True, last=False),
    Case("sliced", sliced=True),
    Case("sliced_nchw", sliced=True, last=False),
    Case("expanded_gradient", expanded=True),
    Case("one_source", slots=19, sources=1),
    Case("all_channels", slots=tuple(range(20)), sources=tuple(reversed(range(20)))),
    Case("a_slot_is_a_source", slots=(3, 5, 7, 18), sources=(5, 3, 18, 18)),
    Case("itself", slots=(2, 17), sources=(2, 17)),
    Case("frozen_x", frozen="x"),
    Case("frozen_shift", frozen="shift"),
    Case("frozen_shift_nchw", frozen="shift", last=False),
)


def outcome(x, slots, sources, shift, grad, **options):
    """Return the output and the gradients by name."""
    y = ops.rewire_channels(x, slots, sources, shift, **options)
    asked = {name: t for name, t in (("x", x), ("shift", shift)) if t.requires_grad}
    return {"y": y.detach(), **dict(zip(asked, torch.autograd.grad(y, asked.values(), grad)))}


def in_double(x, slots, sources, shift, grad):
    x, shift = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, shift))
    return x, slots, sources, shift, grad.double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ANY, ids=lambda case: case.name)
def test_agrees_with_the_formula(case, backend, dtype):
    drawn = case.draw(dtype)
    want = outcome(*in_double(*drawn), backend="eager")
    found = outcome(*drawn, backend=backend)
    assert found.keys() == want.keys()
    for name, exact in want.items():
        ours = found[name]
        assert ours.dtype == (torch.float32 if name == "shift" else dtype), name
        # Sums are rounded once, to what is stored; eager rounds to bfloat16 before it adds to what other slots gave.
        rounding = torch.finfo(ours.dtype).eps * (4 if backend == "eager" else 0.5)
        error, scale = (ours.double() - exact).abs().max(), exact.abs().max()
        assert error <= (rounding + 2e-6) * scale, (name, error / scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_whole_pixels_are_a_roll_with_the_border_repeated(last, backend, dtype):
    x, slots, sources, _, _ = Case("", x=(2, 20, 9, 18), last=last).draw(dtype)
    right, down = 2, -1
    y = ops.rewire_channels(x, slots, sources, torch.tensor([[right, down]] * 6).float(), backend=backend)[:, slots]
    rolled = torch.roll(x[:, sources], (-down, -right), dims=(2, 3))
    assert torch.equal(y[:, :, 1:, :-right], rolled[:, :, 1:, :-right])
    assert torch.equal(y[:, :, 1:, -right:], x[:, sources, :-1, -1:].expand(-1, -1, -1, right))
    assert torch.equal(y[:, :, 0, :-right], x[:, sources, 0, right:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_grid_sample(backend):
    x, slots, sources, shift, grad = Case("", x=(2, 20, 8, 8), reach=3).draw(torch.float32)

    def sampled():
        scaled = shift * 2 / 8  # a pixel is 2 / size
        theta = torch.cat((torch.eye(2).expand(len(slots), 2, 2), scaled[:, :, None]), 2)
        planes = x[:, sources].transpose(0, 1)
        grid = F.affine_grid(theta, planes.shape, align_corners=False)
        return F.grid_sample(planes, grid, padding_mode="border", align_corners=False).transpose(0, 1)

    y = ops.rewire_channels(x, slots, sources, shift, backend=backend)[:, slots]
    want = sampled()
    torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-5)
    grad = grad[:, slots]
    found, exact = (torch.autograd.grad(out, (x, shift), grad) for out in (y, want))
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_the_sum_of_hats_away_from_the_border(backend):
    x, slots, sources, shift, _ = Case("", x=(2, 20, 9, 8)).draw(torch.float32)
    y = ops.rewire_channels(x, slots, sources, shift, backend=backend)
    rows, columns = torch.arange(9.0), torch.arange(8.0)
    for r, (slot, source) in enumerate(zip(slots, sources)):
        across, along = shift[r]
        tall = (1 - (rows[:, None] - rows + along).abs()).clamp(min=0)
        broad = (1 - (columns[:, None] - columns + across).abs()).clamp(min=0)
        want = torch.einsum("hn,bnm,wm->bhw", tall, x[:, source], broad)
        torch.testing.assert_close(y[:, slot, 2:-2, 2:-2], want[:, 2:-2, 2:-2], rtol=1e-4, atol=1e-5)


def test_the_plain_formulation_multiplies_no_matrices():
    x, slots, sources, shift, grad = Case("").draw(torch.float32)
    with torch.profiler.profile() as profile:  # rounded to ten bits on the GPU, where lower precision is allowed
        outcome(x, slots, sources, shift, grad, backend="eager")
    called = {event.key for event in profile.key_averages()}
    assert "aten::index_copy_" in called
    assert not [
        name for name in called if name.split("::")[-1] in ("mm", "bmm", "addmm", "baddbmm", "matmul", "einsum")
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="got no CUDA device; need one")
@pytest.mark.parametrize("last", [False, True])
def test_exact_on_the_gpu_in_lower_precision_of_products(last):
    x, slots, sources, shift, grad = Case("", x=(4, 20, 16, 16), reach=3, whole=True, last=last).draw(torch.float32)
    want = ops.rewire_channels(x, slots, sources, shift)
    on_gpu = [t.detach().cuda().requires_grad_(t.requires_grad) for t in (x, slots, sources, shift)]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        first, *others = (outcome(*on_gpu, grad.cuda(), backend="eager") for _ in range(3))
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(first["y"].cpu(), want)
    assert all(torch.equal(other[name], t) for other in others for name, t in first.items())


def test_first_and_second_derivatives_of_the_plain_formulation():
    x, slots, sources, shift, _ = Case("", x=(2, 5, 3, 4), slots=(0, 1, 4), sources=(2, 0, 2)).draw(torch.double)

    def call(x, shift):
        return ops.rewire_channels(x, slots, sources, shift)

    inputs = x, shift.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


@needs_cpp
def test_second_derivatives_are_refused_by_name():
    x, *wiring, _ = Case("").draw(torch.float32)
    y = ops.rewire_channels(x, *wiring, backend="cpp")
    (first,) = torch.autograd.grad(y.square().sum(), wiring[-1], create_graph=True)
    assert first.requires_grad
    (both, _) = torch.autograd.grad(y.square().sum(), (wiring[-1], x), create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        both.sum().backward(retain_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative of the backend 'cpp'; need backend='eager'"):
        first.sum().backward()
