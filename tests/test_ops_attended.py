"""The layer with its attention as one call of C++: who takes it, who does not, and the rules of PyTorch around it."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

import dyc
import ops
from ops.backends.cpp.backend import CPP, load

pytestmark = pytest.mark.skipif(bool(CPP.missing), reason="; ".join(CPP.missing))

WINDOW = {"stride": 1, "padding": 1, "dilation": 1}


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    load("convolutions")  # some tests call the operators by themselves


@pytest.fixture
def calls(backend_registry):
    """Count the calls that run the whole layer."""
    calls = []
    whole = CPP.operators["attended_depthwise"]

    def run(*args):
        calls.append(args)
        return whole.run(*args)

    operators = {**CPP.operators, "attended_depthwise": replace(whole, run=run)}
    ops.register_backend(replace(CPP, operators=operators), replace=True)
    return calls


def new_layer(backend="cpp"):
    layer = dyc.DynamicConv2d(20, 20, 3, padding=1, groups=20, bias=False, attention="dyc", backend=backend)
    return layer.to(memory_format=torch.channels_last)


def test_a_layer_takes_it(calls, draw_layer):
    new_layer()(draw_layer()[1])
    assert len(calls) == 1


@pytest.mark.parametrize(
    "reason", ["nchw", "bias", "float64", "autocast", "hook", "module_hook", "subclass", "parametrised", "eager"]
)
def test_it_makes_way(calls, reason, draw_layer):
    layer, x = new_layer(), draw_layer()[1].detach()
    seen = []
    if reason == "nchw":
        x = x.contiguous()
    elif reason == "bias":
        layer.bias = nn.Parameter(torch.randn(4, 20))
    elif reason == "float64":
        layer, x = layer.double(), x.double()
        layer.backend = "auto"
    elif reason == "hook":
        layer.attention.register_forward_hook(lambda *_: seen.append(1))
    elif reason == "module_hook":
        layer.attention.fc1.register_forward_hook(lambda *_: seen.append(1))
    elif reason == "subclass":

        class Sharp(dyc.layers.GlobalAttention):
            def logits(self, x):
                seen.append(1)
                return super().logits(x)

        layer.attention.__class__ = Sharp
    elif reason == "parametrised":
        nn.utils.parametrizations.weight_norm(layer.attention.fc1)
    elif reason == "eager":
        dyc.set_backend(layer, "eager")
    with torch.autocast("cpu", torch.bfloat16, enabled=reason == "autocast"):
        y = layer(x)
    assert calls == []
    assert y.shape == x.shape
    assert seen == ([1] if reason in ("hook", "module_hook", "subclass") else [])


def test_a_choice_is_not_kept_beyond_the_block(calls, draw_layer):
    _, x, weight, branch = draw_layer()
    for name, count in (("cpp", 1), ("eager", 1), ("cpp", 2)):
        with ops.use_backend(name):
            ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20)
        assert len(calls) == count


def test_second_derivatives_equal_those_of_the_parts(draw_layer):
    found = {}
    for backend in ("cpp", "eager"):
        torch.manual_seed(0)
        leaves, x, weight, branch = draw_layer()
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        found[backend] = (*first, *second)
    for ours, theirs in zip(found["cpp"], found["eager"]):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


@pytest.mark.parametrize("biases", [True, False])
def test_frozen_arguments_get_none_and_change_no_other_gradient(biases, draw_layer):
    _, x, weight, branch = draw_layer(biases=biases)
    leaves = [t for t in (x, weight, *branch[:4]) if t is not None]  # in the order of the operator

    def gradients(differentiable=False):
        """Ask the node itself: autograd would not show what is computed in vain."""
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend="cpp")
        with torch.set_grad_enabled(differentiable):
            return y.grad_fn(torch.ones_like(y))[: len(leaves)]

    whole = gradients()
    for frozen in leaves:
        frozen.requires_grad_(False)
        for leaf, found, again, want in zip(leaves, gradients(), gradients(differentiable=True), whole):
            if leaf is frozen:
                assert found is None
                assert again is None
            else:
                assert torch.equal(found, want)
                torch.testing.assert_close(again, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())
        frozen.requires_grad_()


def test_each_gradient_is_the_same_whichever_others_are_asked_for(draw_layer):
    leaves, x, weight, branch = draw_layer()
    grad = torch.randn_like(x)
    with torch.no_grad():
        _, *kept = torch.ops.dyc.attended_depthwise_keeping(x, weight, *branch, (1, 1), (1, 1), (1, 1))
        tensors = (grad, x, weight, branch.fc1_weight, branch.fc2_weight, branch.temperature, *kept)

        def backward(needs):
            return torch.ops.dyc.attended_depthwise_backward(*tensors, needs, (1, 1), (1, 1), (1, 1))

        whole = backward([True] * 6)
        for needs in product([True, False], repeat=6):
            for needed, found, want in zip(needs, backward(needs), whole, strict=True):
                assert torch.equal(found, want) if needed else found is None
    y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend="cpp")
    for leaf, want in zip(leaves, torch.autograd.grad(y, leaves, grad, retain_graph=True)):
        (alone,) = torch.autograd.grad(y, leaf, grad, retain_graph=True)
        assert torch.equal(alone, want)


@pytest.mark.parametrize("name", ["grad", "pooled", "hidden", "attention", "mixed"])
def test_the_gradient_called_directly_refuses_tensors_of_other_sizes(name, draw_layer):
    _, x, weight, branch = draw_layer()
    window = ((1, 1), (1, 1), (1, 1))
    with torch.no_grad():
        y, *kept = torch.ops.dyc.attended_depthwise_keeping(x, weight, *branch, *window)
        given = dict(zip(("grad", "pooled", "hidden", "attention", "mixed"), (y, *kept)))
        given[name] = given[name][:, 1:]
        grad, *kept = given.values()
        fixed = (x, weight, branch.fc1_weight, branch.fc2_weight, branch.temperature)
        with pytest.raises(RuntimeError, match=rf"{name}: got \[.*; need \["):
            torch.ops.dyc.attended_depthwise_backward(grad, *fixed, *kept, [True] * 6, *window)


@pytest.mark.parametrize(("per_channel", "frozen"), [(True, ""), (False, ""), (True, "bank"), (False, "x and biases")])
def test_the_operator_keeps_the_rules_of_pytorch(per_channel, frozen, draw_layer):
    _, x, weight, branch = draw_layer(per_channel=per_channel, biases="biases" not in frozen)
    weight.requires_grad_("bank" not in frozen)
    x.requires_grad_("x" not in frozen)
    arguments = (x, weight, *branch, (2, 1), (1, 1), (1, 1))
    torch.library.opcheck(torch.ops.dyc.attended_depthwise.default, arguments)


def test_a_learnt_temperature_gets_its_gradient(draw_layer):
    _, x, weight, branch = draw_layer()
    branch.temperature.requires_grad_()
    found = {}
    for backend in ("cpp", "eager"):
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
        (found[backend],) = torch.autograd.grad(y.square().sum(), branch.temperature)
    torch.testing.assert_close(found["cpp"], found["eager"], rtol=1e-3, atol=0)


@pytest.mark.parametrize("backend", ["cpp", "eager"])
def test_one_tensor_in_two_places_gets_one_gradient(backend, draw_layer):
    _, x, weight, _ = draw_layer(per_channel=False, kernels=6)
    shared = torch.randn(6, requires_grad=True)  # the bias of both linear layers: hidden width 6, 6 kernels
    branch = ops.GlobalBranch(torch.randn(6, 20), shared, torch.randn(6, 6), shared, torch.tensor(3.0))
    y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend).square().sum()
    (plain,) = torch.autograd.grad(y, shared, retain_graph=True)
    (again,) = torch.autograd.grad(y, shared, create_graph=True)
    torch.testing.assert_close(again.detach(), plain, rtol=1e-4, atol=1e-3)


def test_threads_change_no_bit(draw_layer):
    _, x, weight, branch = draw_layer(batch=17, channels=40)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append(ops.attended_conv2d(x, weight, branch, **WINDOW, groups=40, backend="cpp"))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(other, found[0]) for other in found[1:])


def test_parameters_elsewhere_are_not_taken_for_those_of_a_former_call(calls, draw_layer):
    _, x, weight, branch = draw_layer()
    ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20)
    on_meta = ops.GlobalBranch(*(t.to("meta") for t in branch))
    with pytest.raises((ops.ArgumentError, RuntimeError)):
        ops.attended_conv2d(x, weight, on_meta, **WINDOW, groups=20)
    assert len(calls) == 1


def test_a_replica_of_data_parallel_takes_the_parts(calls, draw_layer):
    layer = new_layer()
    for linear in (layer.attention.fc1, layer.attention.fc2):
        for name in ("weight", "bias"):
            tensor = linear._parameters.pop(name)
            setattr(linear, name, tensor if tensor is None else tensor.detach())
    assert layer(draw_layer()[1]).shape == (3, 20, 9, 7)
    assert calls == []


def test_transforms_and_forward_mode_give_what_eager_gives(draw_layer):
    layer, x = new_layer(backend="auto"), draw_layer()[1].detach()
    direction = torch.randn_like(x)
    found = {}
    for backend in ("auto", "eager"):
        dyc.set_backend(layer, backend)
        _, tangent = torch.func.jvp(layer, (x,), (direction,))
        found[backend] = (tangent, torch.func.grad(lambda x: layer(x).square().sum())(x))
    for ours, theirs in zip(found["auto"], found["eager"]):
        torch.testing.assert_close(ours, theirs)
    dyc.set_backend(layer, "cpp")
    with pytest.raises(ops.BackendUnavailable, match=r"torch\.func or forward-mode"):
        torch.func.jvp(layer, (x,), (direction,))


def test_a_traced_layer_holds_operators_of_pytorch_only(draw_layer):
    layer, x = new_layer(backend="auto"), draw_layer()[1].detach()
    traced = torch.jit.trace(layer, x, check_trace=False)  # whose names of values differ between runs
    assert "dyc" not in str(traced.inlined_graph).replace("dyc.", "").replace("dyc/", "")
    torch.testing.assert_close(traced(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, (1, 1), [1, 1]])
def test_forms_of_a_stride(stride, draw_layer):
    _, x, weight, branch = draw_layer()
    y = ops.attended_conv2d(x, weight, branch, stride=stride, padding=1, groups=20)
    assert y.shape == x.shape


def test_a_compiled_model_gives_the_same(draw_layer):
    layer, x = new_layer(), draw_layer()[1].detach()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
