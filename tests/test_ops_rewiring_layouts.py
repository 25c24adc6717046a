"""Channels replaced by shifted copies of others: memory formats, threads, what is kept, and what spreads."""

import pytest
import torch
from support.backends import able

import ops
from ops.backends.cpp.build import compiler

needs_cpp = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")
BACKENDS = able("rewire_channels")


def draw(x=(3, 20, 9, 7), slots=6, last=True, sliced=False, dtype=torch.float32):
    """Return x, slots, sources (three channels, none of them replaced) and shift, and a gradient of the output."""
    wide = torch.randn(x[0], x[1] + 2 * sliced, x[2], x[3] + sliced).to(dtype)
    wide = wide.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    features = (wide[:, 1:-1, :, 1:] if sliced else wide).requires_grad_()
    order = torch.randperm(x[1])
    sources = order[slots:][:3][torch.randint(3, (slots,))]
    shift = (torch.rand(slots, 2) * 3 - 1.5).requires_grad_()
    return features, order[:slots], sources, shift, torch.randn(x).to(dtype)


def outcome(x, slots, sources, shift, grad, autocast=False, **options):
    """Return the output and the gradients of x and shift."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = ops.rewire_channels(x, slots, sources, shift, **options)
    return y.detach(), *torch.autograd.grad(y, (x, shift), grad)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_memory_format_is_kept_and_other_channels_are_copied(last, sliced, backend):
    x, _, _, shift, _ = draw(slots=3, last=last, sliced=sliced)
    wiring = torch.tensor([0, 4, 19]), torch.tensor([1, 0, 5]), shift
    y = ops.rewire_channels(x, *wiring, backend=backend)
    form = torch.channels_last if last else torch.contiguous_format
    assert y.is_contiguous(memory_format=form)
    others = [c for c in range(20) if c not in (0, 4, 19)]
    assert torch.equal(y[:, others], x[:, others])
    (gx,) = torch.autograd.grad(y.square().sum(), x)
    assert backend == "eager" or sliced or gx.is_contiguous(memory_format=form)


@needs_cpp
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"last": False}, {"x": (1, 20, 12, 5)}, {"x": (2, 36, 5, 70), "slots": 17}],
    ids=["usual", "nchw", "one_image", "wide"],
)
def test_threads_change_no_bit(kwargs):
    drawn, threads, found = draw(**kwargs), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += [outcome(*drawn, backend="cpp") for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(other, found[0], strict=True))


@needs_cpp
def test_few_planes_are_kept_for_the_backward_pass():
    x, _, _, shift, _ = draw()
    wiring = torch.tensor([0, 1, 2, 3, 5, 6]), torch.tensor([4, 4, 9, 9, 9, 4]), shift
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ops.rewire_channels(x, *wiring, backend="cpp")
    assert max(t.numel() for t in kept) == x[:, :2].numel()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype, backend):
    drawn = draw(dtype=dtype)
    want = outcome(*drawn, backend=backend)
    found = outcome(*drawn, backend=backend, autocast=True)
    assert all(torch.equal(*pair) for pair in zip(found, want, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("last", [False, True])
def test_a_shift_that_is_not_finite_spoils_its_slot_alone(last, value, backend):
    x, slots, sources, shift, _ = draw(x=(2, 20, 5, 18), last=last)
    with torch.no_grad():
        want = ops.rewire_channels(x, slots, sources, shift, backend=backend)
        shift[2, 1] = value
        found = ops.rewire_channels(x, slots, sources, shift, backend=backend)
    assert found[:, slots[2]].isnan().all()
    others = [c for c in range(20) if c != slots[2]]
    assert torch.equal(found[:, others], want[:, others])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("last", [False, True])
def test_a_pixel_that_is_not_finite_spoils_those_next_to_it(last, value, backend):
    x, *_ = draw(x=(2, 20, 6, 18), last=last)
    slots, sources = torch.tensor([3, 7, 8]), torch.tensor([1, 1, 2])
    shift = torch.tensor([[0.5, -1.25], [2.0, 1.0], [0.5, 0.5]], requires_grad=True)
    with torch.no_grad():
        want = ops.rewire_channels(x, slots, sources, shift, backend=backend)
        x[0, 1, 3, 9] = value
    y = ops.rewire_channels(x, slots, sources, shift, backend=backend)
    (gshift,) = torch.autograd.grad(y.sum(), shift)
    spoilt = torch.zeros(y.shape, dtype=torch.bool)
    spoilt[0, 1, 3, 9] = True
    spoilt[0, 3, 4:6, 8:10] = True  # row 3 lies above 5 - 1.25 and below 4 - 1.25
    spoilt[0, 7, 1:3, 6:8] = True  # a whole shift gives the other pixel no weight, which does not cure it
    assert torch.equal(~y.isfinite(), spoilt)
    assert torch.equal(y[~spoilt], want[~spoilt])
    assert torch.equal(gshift.isfinite().all(1), torch.tensor([False, False, True]))


def test_nothing_to_re_wire_returns_the_features_themselves():
    x, none = torch.randn(2, 3, 4, 5), torch.zeros(0, dtype=torch.int64)
    for backend in ("auto", "eager"):
        assert ops.rewire_channels(x, none, none, torch.zeros(0, 2), backend=backend) is x
