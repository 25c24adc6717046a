"""Channels replaced by shifted copies of others: both backends against the float64 formula, and the rules around it."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

import ops
from ops import rewiring_cpp
from ops.build import compiler
from ops.rewiring import rewire_eager

needs_cpp = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")
BACKENDS = [pytest.param("cpp", marks=needs_cpp), "eager"]


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


def outcome(x, slots, sources, shift, grad, autocast=False, **options):
    """Return the output and the gradients by name."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
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


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_memory_format_is_kept_and_other_channels_are_copied(last, sliced, backend):
    case = Case("", slots=(0, 4, 19), sources=(1, 0, 5), last=last, sliced=sliced)
    x, *wiring, _ = case.draw(torch.float32)
    y = ops.rewire_channels(x, *wiring, backend=backend)
    form = torch.channels_last if last else torch.contiguous_format
    assert y.is_contiguous(memory_format=form)
    others = [c for c in range(20) if c not in case.slots]
    assert torch.equal(y[:, others], x[:, others])
    (gx,) = torch.autograd.grad(y.square().sum(), x)
    assert backend == "eager" or sliced or gx.is_contiguous(memory_format=form)


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


@needs_cpp
@pytest.mark.parametrize("frozen", ["", "x", "shift"])
@pytest.mark.parametrize("last", [False, True])
def test_operators_keep_the_rules_of_pytorch(last, frozen):
    x, slots, sources, shift, grad = Case("", last=last, frozen=frozen).draw(torch.float32)
    assert rewiring_cpp.failure() == ()
    torch.library.opcheck(torch.ops.dyc.rewire.default, (x, slots, sources, shift))
    needs = [x.requires_grad, shift.requires_grad]
    kept = x.detach(), sources
    grad = grad.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    torch.library.opcheck(torch.ops.dyc.rewire_backward.default, (grad, slots, sources, shift.detach(), *kept, needs))


@needs_cpp
@pytest.mark.parametrize("case", [case for case in ANY if case.name in ("usual", "nchw", "one_image", "wide")], ids=str)
def test_threads_change_no_bit(case):
    drawn, threads, found = case.draw(torch.float32), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += [outcome(*drawn, backend="cpp") for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(other[name], t) for other in found[1:] for name, t in found[0].items())


@needs_cpp
def test_few_planes_are_kept_for_the_backward_pass():
    x, *wiring, _ = Case("", x=(2, 20, 9, 7), sources=(4, 4, 9, 9, 9, 4), slots=(0, 1, 2, 3, 5, 6)).draw(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ops.rewire_channels(x, *wiring, backend="cpp")
    assert max(t.numel() for t in kept) == x[:, :2].numel()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype, backend):
    drawn = Case("").draw(dtype)
    want = outcome(*drawn, backend=backend)
    found = outcome(*drawn, backend=backend, autocast=True)
    assert all(torch.equal(found[name], t) for name, t in want.items())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("last", [False, True])
def test_a_shift_that_is_not_finite_spoils_its_slot_alone(last, value, backend):
    x, slots, sources, shift, _ = Case("", x=(2, 20, 5, 18), last=last).draw(torch.float32)
    with torch.no_grad():
        want = ops.rewire_channels(x, slots, sources, shift, backend=backend)
        shift[2, 1] = value
        found = ops.rewire_channels(x, slots, sources, shift, backend=backend)
    assert found[:, slots[2]].isnan().all()
    others = [c for c in range(20) if c != slots[2]]
    assert torch.equal(found[:, others], want[:, others])


def test_nothing_to_re_wire_returns_the_features_themselves():
    x, none = torch.randn(2, 3, 4, 5), torch.zeros(0, dtype=torch.int64)
    for backend in ("auto", "eager"):
        assert ops.rewire_channels(x, none, none, torch.zeros(0, 2), backend=backend) is x


def test_script_and_export_hold_operators_of_pytorch():
    x, slots, sources, shift, grad = Case("").draw(torch.float32)
    want = outcome(x, slots, sources, shift, grad, backend="eager")
    y = torch.jit.script(rewire_eager)(x, slots, sources, shift)
    assert torch.equal(y, want["y"])
    for ours, name in zip(torch.autograd.grad(y, (x, shift), grad), ("x", "shift")):
        torch.testing.assert_close(ours, want[name])

    class Rewire(torch.nn.Module):
        def forward(self, x, slots, sources, shift):
            return ops.rewire_channels(x, slots, sources, shift)

    arguments = x.detach(), slots, sources, shift.detach()
    exported = torch.export.export(Rewire(), arguments)
    assert not [node for node in exported.graph.nodes if "dyc" in str(node.target)]
    torch.testing.assert_close(exported.module()(*arguments), want["y"])
    traced = torch.jit.trace(Rewire(), arguments)
    torch.testing.assert_close(traced(*arguments), want["y"])


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_compiles_whole_for_any_number_of_slots(backend):
    torch.compiler.reset()

    def call(x, slots, sources, shift):
        return ops.rewire_channels(x, slots, sources, shift, backend=backend).sin()

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for count in (4, 6, 0, 5):
        x, slots, sources, shift, grad = Case("", slots=count).draw(torch.float32)
        results = []
        for function in (call, compiled):
            y = function(x, slots, sources, shift)
            results.append((y, *torch.autograd.grad(y, (x, shift), grad, allow_unused=True)))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_on_meta_and_under_transforms():
    x, slots, sources, shift, _ = Case("").draw(torch.float32)
    y = ops.rewire_channels(*(t.to("meta") for t in (x, slots, sources, shift)))
    assert (y.device.type, y.shape) == ("meta", x.shape)
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = torch.func.grad(lambda shift: ops.rewire_channels(x.detach(), slots, sources, shift).square().sum())(shift)
    (want,) = torch.autograd.grad(ops.rewire_channels(x, slots, sources, shift).square().sum(), shift)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-3)


@needs_cpp
def test_use_backend_holds():
    double = Case("").draw(torch.float64)[:4]
    with ops.use_backend("cpp"), pytest.raises(ops.BackendUnavailable, match=r"got torch\.float64, need float32"):
        ops.rewire_channels(*double)
    with ops.use_backend("eager"):
        y = ops.rewire_channels(*Case("").draw(torch.float32)[:4])
    assert "Rewire" not in y.grad_fn.name()
    y = ops.rewire_channels(*Case("").draw(torch.float32)[:4])
    assert "Rewire" in y.grad_fn.name()


X, SLOTS, SOURCES, SHIFT = torch.randn(2, 6, 5, 4), torch.tensor([0, 3]), torch.tensor([1, 1]), torch.zeros(2, 2)

BAD = {
    "x_three_dimensions": ({"x": X[0]}, "x", "shape (6, 5, 4)", "(B, C, H, W)"),
    "x_integers": ({"x": X.long()}, "x", "torch.int64", "floating point"),
    "slots_a_list": ({"slots": [0, 3]}, "slots", "list", "a tensor"),
    "slots_two_dimensions": ({"slots": SLOTS[None]}, "slots", "shape (1, 2)", "(R,), torch.int64"),
    "slots_int32": ({"slots": SLOTS.int()}, "slots", "torch.int32", "(R,), torch.int64"),
    "slots_device": ({"slots": SLOTS.to("meta")}, "slots", "on meta", "on cpu, the device of x"),
    "slots_negative": ({"slots": torch.tensor([0, -1])}, "slots", "-1", "from 0 to 5"),
    "slots_too_large": ({"slots": torch.tensor([6, 0])}, "slots", "6", "from 0 to 5"),
    "slots_twice": ({"slots": torch.tensor([3, 3])}, "slots", "3 twice", "channels that differ"),
    "sources_too_few": ({"sources": SOURCES[:1]}, "sources", "shape (1,)", "(2,), one for each slot"),
    "sources_floats": ({"sources": SOURCES.float()}, "sources", "torch.float32", "torch.int64"),
    "sources_negative": ({"sources": torch.tensor([-2, 1])}, "sources", "-2", "from 0 to 5"),
    "shift_one_column": ({"shift": SHIFT[:, :1]}, "shift", "shape (2, 1)", "(2, 2), floating point"),
    "shift_too_many": ({"shift": torch.zeros(3, 2)}, "shift", "shape (3, 2)", "(2, 2), floating point"),
    "shift_integers": ({"shift": SHIFT.long()}, "shift", "torch.int64", "floating point"),
    "shift_device": ({"shift": SHIFT.to("meta")}, "shift", "on meta", "on cpu"),
    "backend_misspelt": ({"backend": "eagr"}, "backend", "'eagr' (did you mean 'eager'?)", "'auto', 'cpp', 'eager'"),
    "backend_of_another_operator": ({"backend": "compile"}, "backend", "'compile'", "'auto', 'cpp', 'eager'"),
    "backend_none": ({"backend": None}, "backend", "None", "'auto', 'cpp', 'eager'"),
}


@pytest.mark.parametrize(("changes", "argument", "got", "need"), BAD.values(), ids=BAD)
def test_errors(raises, changes, argument, got, need):
    with raises(argument, got, need):
        ops.rewire_channels(**{"x": X, "slots": SLOTS, "sources": SOURCES, "shift": SHIFT, **changes})


@needs_cpp
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": torch.tensor([0, 6])}, "slots: got 6; need channels from 0 to 5"),
        ({"slots": torch.tensor([3, 3])}, "slots: got 3 twice"),
        ({"sources": torch.tensor([-1, 0])}, "sources: got -1; need channels from 0 to 5"),
        ({"sources": torch.tensor([0])}, r"sources: got .*; need \(2,\)"),
        ({"shift": torch.zeros(2, 1)}, r"shift: got .*; need \(2, 2\) of float32"),
        ({"shift": torch.zeros(2, 2).double()}, r"shift: got .*; need \(2, 2\) of float32"),
        ({"x": torch.randn(2, 6, 0, 4)}, "x: got .*; need .* none of them 0"),
        ({"x": torch.randn(2, 6, 5, 4).double()}, "x: got .*; need float32 or bfloat16"),
        ({"kept": torch.randn(2, 6, 4, 4)}, r"kept: got \[2, 6, 4, 4\]; need \(2, D, 5, 4\)"),
        ({"rows": torch.tensor([0, 6])}, "rows: got 6; need channels from 0 to 5"),
        ({"rows": torch.tensor([0, 1])}, "need one row for each of the sources"),
    ],
)
def test_operators_called_directly_read_nothing_beyond_their_arguments(changes, message):
    assert rewiring_cpp.failure() == ()
    given = {"x": X, "slots": SLOTS, "sources": SOURCES, "shift": SHIFT, **changes}
    kept, rows = given.pop("kept", X), given.pop("rows", SOURCES)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.dyc.rewire_backward(*given.values(), kept, rows, [True, True])
    if "kept" not in changes and "rows" not in changes:
        with pytest.raises(RuntimeError, match=message):
            torch.ops.dyc.rewire(*given.values())


def test_a_machine_without_a_compiler_falls_back_only_where_nothing_was_named(monkeypatch):
    monkeypatch.setattr(rewiring_cpp, "_OUTCOME", [])

    def fail(*names):
        raise ops.BackendUnavailable("got no compiler; need one")

    monkeypatch.setattr(rewiring_cpp, "load", fail)
    monkeypatch.setattr(rewiring_cpp, "MISSING", ())
    arguments = X, SLOTS, SOURCES, SHIFT
    with pytest.warns(UserWarning, match="'cpp' is not available for rewire_channels: got no compiler"):
        y = ops.rewire_channels(*arguments)
    assert torch.equal(y, ops.rewire_channels(*arguments, backend="eager"))
    with pytest.raises(ops.BackendUnavailable, match="cannot run rewire_channels: got no compiler"):
        ops.rewire_channels(*arguments, backend="cpp")
