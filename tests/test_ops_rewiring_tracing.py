"""Channels replaced by shifted copies of others: compilers and tracers, the choice of a backend, and errors."""

import pytest
import torch
from support.backends import able

import ops
from ops import rewiring
from ops.backends.cpp import rewire as cpp_rewire
from ops.backends.cpp.backend import CPP
from ops.backends.cpp.build import compiler
from ops.rewiring import rewire_eager

needs_cpp = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")
BACKENDS = able("rewire_channels")


def draw(slots=6, last=True, dtype=torch.float32):
    """Return x, slots, sources (three channels, none of them replaced) and shift, and a gradient of the output."""
    form = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(3, 20, 9, 7).to(dtype).contiguous(memory_format=form).requires_grad_()
    order = torch.randperm(20)
    sources = order[slots:][:3][torch.randint(3, (slots,))]
    shift = (torch.rand(slots, 2) * 3 - 1.5).requires_grad_()
    return x, order[:slots], sources, shift, torch.randn(x.shape).to(dtype)


def prepare():
    """Compile and load the operator, as its first call does."""
    preparation = CPP.operators["rewire_channels"].prepare
    preparation.make()
    assert preparation.failure is None


@needs_cpp
@pytest.mark.parametrize("frozen", ["", "x", "shift"])
@pytest.mark.parametrize("last", [False, True])
def test_operators_keep_the_rules_of_pytorch(last, frozen):
    x, slots, sources, shift, grad = draw(last=last)
    x.requires_grad_(frozen != "x")
    shift.requires_grad_(frozen != "shift")
    prepare()
    torch.library.opcheck(torch.ops.dyc.rewire.default, (x, slots, sources, shift))
    needs = [x.requires_grad, shift.requires_grad]
    kept = x.detach(), sources
    grad = grad.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    torch.library.opcheck(torch.ops.dyc.rewire_backward.default, (grad, slots, sources, shift.detach(), *kept, needs))


def test_script_and_export_hold_operators_of_pytorch():
    x, slots, sources, shift, grad = draw()
    want = ops.rewire_channels(x, slots, sources, shift, backend="eager")
    gradients = torch.autograd.grad(want, (x, shift), grad)
    y = torch.jit.script(rewire_eager)(x, slots, sources, shift)
    assert torch.equal(y, want)
    for ours, theirs in zip(torch.autograd.grad(y, (x, shift), grad), gradients):
        torch.testing.assert_close(ours, theirs)

    class Rewire(torch.nn.Module):
        def forward(self, x, slots, sources, shift):
            return ops.rewire_channels(x, slots, sources, shift)

    arguments = x.detach(), slots, sources, shift.detach()
    exported = torch.export.export(Rewire(), arguments)
    assert not [node for node in exported.graph.nodes if "dyc" in str(node.target)]
    torch.testing.assert_close(exported.module()(*arguments), want)
    traced = torch.jit.trace(Rewire(), arguments)
    torch.testing.assert_close(traced(*arguments), want)


def test_a_program_for_any_batch_and_size():
    class Halved(torch.nn.Module):
        def forward(self, x, slots, sources, shift):
            halves = torch.nn.functional.unfold(x, 3, stride=2, padding=1)[:, ::9]
            size = [(n + 1) // 2 for n in x.shape[2:]]
            return ops.rewire_channels(halves.unflatten(2, size), slots, sources, shift, backend="eager")

    def arguments(batch, *size):
        return torch.randn(batch, 20, *size), *draw()[1:3], torch.rand(6, 2)

    sizes = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(Halved(), arguments(2, 16, 16), dynamic_shapes=(sizes, None, None, None)).module()
    for size in ((1, 16, 16), (3, 16, 16), (2, 20, 28)):
        given = arguments(*size)
        torch.testing.assert_close(program(*given), Halved()(*given))


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_compiles_whole_for_any_number_of_slots(backend):
    torch.compiler.reset()

    def call(x, slots, sources, shift):
        return ops.rewire_channels(x, slots, sources, shift, backend=backend).sin()

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for count in (4, 6, 0, 5):
        x, slots, sources, shift, grad = draw(slots=count)
        results = []
        for function in (call, compiled):
            y = function(x, slots, sources, shift)
            results.append((y, *torch.autograd.grad(y, (x, shift), grad, allow_unused=True)))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_on_meta_and_under_transforms():
    x, slots, sources, shift, _ = draw()
    y = ops.rewire_channels(*(t.to("meta") for t in (x, slots, sources, shift)))
    assert (y.device.type, y.shape) == ("meta", x.shape)
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = torch.func.grad(lambda shift: ops.rewire_channels(x.detach(), slots, sources, shift).square().sum())(shift)
    (want,) = torch.autograd.grad(ops.rewire_channels(x, slots, sources, shift).square().sum(), shift)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-3)


@needs_cpp
def test_use_backend_holds():
    double = draw(dtype=torch.float64)[:4]
    with ops.use_backend("cpp"), pytest.raises(ops.BackendUnavailable, match=r"got torch\.float64, need float32"):
        ops.rewire_channels(*double)
    with ops.use_backend("eager"):
        y = ops.rewire_channels(*draw()[:4])
    assert "Rewire" not in y.grad_fn.name()
    with ops.use_backend("compile"):  # which has no form of this operator
        assert "Rewire" in ops.rewire_channels(*draw()[:4]).grad_fn.name()
    y = ops.rewire_channels(*draw()[:4])
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
    "backend_misspelt": ({"backend": "eagr"}, "backend", "'eagr' (did you mean 'eager'?)", "'auto', 'compile', 'cpp'"),
    "backend_none": ({"backend": None}, "backend", "None", "the name of a backend"),
}


@pytest.mark.parametrize(("changes", "argument", "got", "need"), BAD.values(), ids=BAD)
def test_errors(raises, changes, argument, got, need):
    with raises(argument, got, need):
        ops.rewire_channels(**{"x": X, "slots": SLOTS, "sources": SOURCES, "shift": SHIFT, **changes})


@pytest.mark.parametrize("backend", ["compile", "cupy"])
def test_backends_that_do_not_have_it_say_who_has(backend):
    with pytest.raises(ops.BackendUnavailable, match=f"no 'rewire_channels' .* '{backend}'; need 'eager' or 'cpp'"):
        ops.rewire_channels(X, SLOTS, SOURCES, SHIFT, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["slots_negative", "slots_too_large", "slots_twice", "sources_negative"])
def test_either_backend_refuses_wrong_channels(raises, name, backend):
    changes, argument, got, need = BAD[name]
    arguments = {"x": X, "slots": SLOTS, "sources": SOURCES, "shift": SHIFT.clone().requires_grad_(), **changes}
    with raises(argument, got, need):
        ops.rewire_channels(**arguments, backend=backend)


@needs_cpp
def test_the_compiled_operator_alone_looks_at_the_channels(monkeypatch):
    def fail(*arguments):
        raise AssertionError

    monkeypatch.setattr(rewiring, "check_channels", fail)
    monkeypatch.setattr(cpp_rewire, "check_channels", fail)
    ops.rewire_channels(X, SLOTS, SOURCES, SHIFT, backend="cpp")
    with pytest.raises(AssertionError):
        ops.rewire_channels(X, SLOTS, SOURCES, SHIFT, backend="eager")


@needs_cpp
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": torch.tensor([0, 6])}, "slots: got 6; need channels from 0 to 5"),
        ({"slots": torch.tensor([3, 3])}, "slots: got 3 twice; need channels that differ"),
        ({"sources": torch.tensor([-1, 0])}, "sources: got -1; need channels from 0 to 5"),
        ({"sources": torch.tensor([0])}, r"sources: got .*; need \(2,\)"),
        ({"shift": torch.zeros(2, 1)}, r"shift: got .*; need \(2, 2\) of float32"),
        ({"shift": torch.zeros(2, 2).double()}, r"shift: got .*; need \(2, 2\) of float32"),
        ({"x": torch.randn(2, 6, 0, 4)}, "x: got .*; need .* none but B 0"),
        ({"x": torch.randn(2, 6, 5, 4).double()}, "x: got .*; need float32 or bfloat16"),
        ({"kept": torch.randn(2, 6, 4, 4)}, r"kept: got \[2, 6, 4, 4\]; need \(2, D, 5, 4\)"),
        ({"rows": torch.tensor([0, 6])}, "rows: got 6; need channels from 0 to 5"),
        ({"rows": torch.tensor([0, 1])}, "need one row for each of the sources"),
    ],
)
def test_operators_called_directly_read_nothing_beyond_their_arguments(changes, message):
    prepare()
    kind = ValueError if "channels" in message else RuntimeError
    given = {"x": X, "slots": SLOTS, "sources": SOURCES, "shift": SHIFT, **changes}
    kept, rows = given.pop("kept", X), given.pop("rows", SOURCES)
    with pytest.raises(kind, match=message):
        torch.ops.dyc.rewire_backward(*given.values(), kept, rows, [True, True])
    if "kept" not in changes and "rows" not in changes:
        with pytest.raises(kind, match=message):
            torch.ops.dyc.rewire(*given.values())


@pytest.mark.usefixtures("backend_registry")
def test_a_machine_without_a_compiler_falls_back_only_where_nothing_was_named():
    def prepare():
        raise ops.BackendUnavailable("got no compiler; need one")

    rewire = ops.Implementation(cpp_rewire.run, CPP.operators["rewire_channels"].unmet, prepare)
    ops.register_backend(ops.Backend("cpp", {**CPP.operators, "rewire_channels": rewire}), replace=True)
    arguments = X, SLOTS, SOURCES, SHIFT
    with pytest.warns(UserWarning, match="backend 'cpp' is not available: got no compiler"):
        y = ops.rewire_channels(*arguments)
    assert torch.equal(y, ops.rewire_channels(*arguments, backend="eager"))
    with pytest.raises(ops.BackendUnavailable, match="'cpp' cannot run this call: got no compiler"):
        ops.rewire_channels(*arguments, backend="cpp")
