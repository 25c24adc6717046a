"""A layer with its attention in one call, against the definition of its parts in float64."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import dyc
import ops
from ops import reference

CPP = {status.name: status for status in ops.backends()}["cpp"]
BACKENDS = ["eager", pytest.param("cpp", marks=pytest.mark.skipif(not CPP.available, reason="; ".join(CPP.reasons)))]
WINDOW = {"stride": 1, "padding": 1, "dilation": 1}


def call(batch=3, channels=20, size=9, kernel=3, per_channel=True, biases=True, kernels=4, dtype=torch.float32):
    """Draw x, a bank and a branch, all leaves that ask for gradients."""

    def draw(*shape):
        return torch.randn(shape, dtype=dtype)

    hidden, outputs = channels // 4 + 1, kernels * (channels if per_channel else 1)
    x = draw(batch, channels, size, size - 2).contiguous(memory_format=torch.channels_last)
    fc1, fc2 = draw(hidden, channels), draw(outputs, hidden)
    leaves = [
        x,
        draw(kernels, channels, 1, kernel, kernel),
        fc1,
        fc2,
        *((draw(hidden), draw(outputs)) if biases else ()),
    ]
    for leaf in leaves:
        leaf.requires_grad_()
    bias1, bias2 = leaves[4:] if biases else (None, None)
    return leaves, x, leaves[1], ops.GlobalBranch(fc1, bias1, fc2, bias2, torch.tensor(3.0, dtype=dtype))


def definition(leaves, window):
    """Compute the same in float64, the convolution by the reference."""
    x, weight, fc1, fc2, *biases = [leaf.detach().double().requires_grad_() for leaf in leaves]
    bias1, bias2 = biases or (None, None)
    branch = ops.GlobalBranch(fc1, bias1, fc2, bias2, torch.tensor(3.0, dtype=torch.float64))
    attention = ops.branch_attention(x, branch, weight.shape[0])
    y = reference.dynamic_conv2d(x, weight, attention, **window, groups=x.shape[1])
    return y, (x, weight, fc1, fc2, *biases)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ({}, WINDOW),
        ({"biases": False}, WINDOW),
        ({"per_channel": False}, WINDOW),
        ({"per_channel": False, "kernels": 3}, {**WINDOW, "stride": 2}),
        ({"batch": 1}, WINDOW),
        ({"batch": 33, "channels": 7, "size": 6}, WINDOW),
        ({"channels": 64, "size": 33}, {**WINDOW, "stride": (1, 2)}),
        ({"channels": 16, "kernel": 5}, {"stride": 2, "padding": 2, "dilation": 1}),
        ({"channels": 130, "size": 5}, {"stride": 1, "padding": 2, "dilation": 2}),
        ({"kernels": 1}, WINDOW),
        ({"kernels": 9, "batch": 12}, WINDOW),
        # linear layers too large for parts of the batch, at and around whole packs of samples
        *(({"batch": batch, "channels": 203, "size": 4}, WINDOW) for batch in (9, 16, 17, 32, 33)),
        ({"batch": 16, "channels": 420, "size": 3, "per_channel": False, "biases": False}, WINDOW),
        # pixels that share one set of the first-level cache
        ({"channels": 1024, "size": 5}, WINDOW),
        ({"channels": 1024, "size": 6}, {**WINDOW, "stride": 2}),
    ],
    ids=str,
)
def test_output_and_gradients_match_the_definition(backend, shape, window):
    leaves, x, weight, branch = call(**shape)
    y = ops.attended_conv2d(x, weight, branch, **window, groups=x.shape[1], backend=backend)
    exact, exact_leaves = definition(leaves, window)
    grad = torch.randn_like(y)
    found = (y, *torch.autograd.grad(y, leaves, grad))
    wanted = (exact, *torch.autograd.grad(exact, exact_leaves, grad.double()))
    assert y.is_contiguous(memory_format=torch.channels_last)
    for f, w in zip(found, wanted):
        assert (f.double() - w).abs().max() <= 2e-5 * w.abs().max() + 1e-6
    with torch.no_grad():
        again = ops.attended_conv2d(x, weight, branch, **window, groups=x.shape[1], backend=backend)
    torch.testing.assert_close(again, y.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_negative_temperature_is_arithmetic_too(backend, per_channel):
    _, x, weight, branch = call(per_channel=per_channel)
    branch = branch._replace(fc2_weight=branch.fc2_weight * 30, temperature=torch.tensor(-1.0))
    y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
    expected = ops.dynamic_conv2d(x, weight, ops.branch_attention(x, branch, 4), **WINDOW, groups=20)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mean_of_many_pixels_is_exact(backend):
    """In one float sum the mean of so many ones would be less than one."""
    x = torch.ones(1, 16, 4200, 4200).contiguous(memory_format=torch.channels_last)
    fc1, fc2 = torch.eye(16)[:1], torch.tensor([[1.0], [0.0]])
    branch = ops.GlobalBranch(fc1, None, fc2, None, torch.tensor(1.0))
    bank = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1, 1).expand(2, 16, 1, 3, 3).contiguous()
    with torch.no_grad():
        y = ops.attended_conv2d(x, bank, branch, stride=2, padding=1, groups=16, backend=backend)
    torch.testing.assert_close(y[0, 0, 5, 5] / 9, torch.sigmoid(torch.tensor(1.0)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_logits_stay_finite(backend):
    _, x, weight, branch = call()
    hot = branch._replace(fc2_weight=branch.fc2_weight * 1e4)
    y = ops.attended_conv2d(x, weight, hot, **WINDOW, groups=20, backend=backend)
    expected = ops.dynamic_conv2d(x, weight, ops.branch_attention(x, hot, 4), **WINDOW, groups=20)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not CPP.available, reason="; ".join(CPP.reasons))
class TestOneCall:
    def spy(self, monkeypatch):
        """Count the calls that run the whole layer."""
        calls = []
        backend = ops.registry._REGISTRY["cpp"]

        def run_branch(*args):
            calls.append(args)
            return backend.run_branch(*args)

        monkeypatch.setitem(ops.registry._REGISTRY, "cpp", replace(backend, run_branch=run_branch))
        monkeypatch.setattr(ops.attended, "_PLANS", {})
        return calls

    def layer(self, backend="cpp"):
        layer = dyc.DynamicConv2d(20, 20, 3, padding=1, groups=20, bias=False, attention="dyc", backend=backend)
        return layer.to(memory_format=torch.channels_last)

    def test_a_layer_takes_it(self, monkeypatch):
        calls = self.spy(monkeypatch)
        self.layer()(call()[1])
        assert len(calls) == 1

    @pytest.mark.parametrize(
        "reason", ["nchw", "bias", "float64", "autocast", "hook", "module_hook", "subclass", "parametrised", "eager"]
    )
    def test_it_makes_way(self, monkeypatch, reason):
        calls = self.spy(monkeypatch)
        layer, x = self.layer(), call()[1].detach()
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

    def test_a_choice_is_not_kept_beyond_the_block(self, monkeypatch):
        calls = self.spy(monkeypatch)
        _, x, weight, branch = call()
        for name, count in (("cpp", 1), ("eager", 1), ("cpp", 2)):
            with ops.use_backend(name):
                ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20)
            assert len(calls) == count

    def test_second_derivatives_equal_those_of_the_parts(self):
        found = {}
        for backend in ("cpp", "eager"):
            torch.manual_seed(0)
            leaves, x, weight, branch = call()
            y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
            first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
            found[backend] = (*first, *second)
        for ours, theirs in zip(found["cpp"], found["eager"]):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())

    @pytest.mark.parametrize("frozen", [0, 1, 2, 3, 4, 5])
    def test_frozen_arguments_change_no_other_gradient(self, frozen):
        leaves, x, weight, branch = call()
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend="cpp")
        whole = torch.autograd.grad(y, leaves, torch.ones_like(y))
        leaves[frozen].requires_grad_(False)
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend="cpp")
        rest = [leaf for leaf in leaves if leaf.requires_grad]
        found = torch.autograd.grad(y, rest, torch.ones_like(y))
        assert all(torch.equal(a, b) for a, b in zip(found, whole[:frozen] + whole[frozen + 1 :]))

    @pytest.mark.parametrize("per_channel", [True, False])
    def test_the_operator_keeps_the_rules_of_pytorch(self, per_channel):
        _, x, weight, branch = call(per_channel=per_channel)
        arguments = (x, weight, *branch, (2, 1), (1, 1), (1, 1))
        torch.library.opcheck(torch.ops.dyc.attended_depthwise.default, arguments)

    def test_a_learnt_temperature_gets_its_gradient(self):
        _, x, weight, branch = call()
        branch.temperature.requires_grad_()
        found = {}
        for backend in ("cpp", "eager"):
            y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
            (found[backend],) = torch.autograd.grad(y.square().sum(), branch.temperature)
        torch.testing.assert_close(found["cpp"], found["eager"], rtol=1e-3, atol=0)

    @pytest.mark.parametrize("backend", ["cpp", "eager"])
    def test_one_tensor_in_two_places_gets_one_gradient(self, backend):
        _, x, weight, _ = call(per_channel=False, kernels=6)
        shared = torch.randn(6, requires_grad=True)  # the bias of both linear layers: hidden width 6, 6 kernels
        branch = ops.GlobalBranch(torch.randn(6, 20), shared, torch.randn(6, 6), shared, torch.tensor(3.0))
        y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend).square().sum()
        (plain,) = torch.autograd.grad(y, shared, retain_graph=True)
        (again,) = torch.autograd.grad(y, shared, create_graph=True)
        torch.testing.assert_close(again.detach(), plain, rtol=1e-4, atol=1e-3)

    def test_threads_change_no_bit(self):
        _, x, weight, branch = call(batch=17, channels=40)
        threads, found = torch.get_num_threads(), []
        try:
            for count in (1, 2, 4):
                torch.set_num_threads(count)
                found.append(ops.attended_conv2d(x, weight, branch, **WINDOW, groups=40, backend="cpp"))
        finally:
            torch.set_num_threads(threads)
        assert all(torch.equal(other, found[0]) for other in found[1:])

    def test_parameters_elsewhere_are_not_taken_for_those_of_a_former_call(self, monkeypatch):
        calls = self.spy(monkeypatch)
        _, x, weight, branch = call()
        ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20)
        on_meta = ops.GlobalBranch(*(t.to("meta") for t in branch))
        with pytest.raises((ops.ArgumentError, RuntimeError)):
            ops.attended_conv2d(x, weight, on_meta, **WINDOW, groups=20)
        assert len(calls) == 1

    def test_a_replica_of_data_parallel_takes_the_parts(self, monkeypatch):
        calls = self.spy(monkeypatch)
        layer = self.layer()
        for linear in (layer.attention.fc1, layer.attention.fc2):
            for name in ("weight", "bias"):
                tensor = linear._parameters.pop(name)
                setattr(linear, name, tensor if tensor is None else tensor.detach())
        assert layer(call()[1]).shape == (3, 20, 9, 7)
        assert calls == []

    def test_transforms_and_forward_mode_give_what_eager_gives(self):
        layer, x = self.layer(backend="auto"), call()[1].detach()
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

    def test_a_traced_layer_holds_operators_of_pytorch_only(self):
        layer, x = self.layer(backend="auto"), call()[1].detach()
        traced = torch.jit.trace(layer, x, check_trace=False)  # whose names of values differ between runs
        assert "dyc" not in str(traced.inlined_graph).replace("dyc.", "").replace("dyc/", "")
        torch.testing.assert_close(traced(x), layer(x), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("stride", [1, (1, 1), [1, 1]])
    def test_forms_of_a_stride(self, stride):
        _, x, weight, branch = call()
        y = ops.attended_conv2d(x, weight, branch, stride=stride, padding=1, groups=20)
        assert y.shape == x.shape

    def test_a_compiled_model_gives_the_same(self):
        layer, x = self.layer(), call()[1].detach()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize(
    ("field", "shape", "message"),
    [
        ("fc1_weight", (0, 20), r"fc1_weight: got shape \(0, 20\)"),
        ("fc1_weight", (20,), r"fc1_weight: got shape \(20,\)"),
        ("fc2_weight", (80,), r"fc2_weight: got shape \(80,\)"),
        ("fc1_weight", (6, 19), r"fc1_weight: got shape \(6, 19\); need \(hidden, 20\)"),
        ("fc2_weight", (79, 6), r"fc2_weight: got shape \(79, 6\); need \(4, 6\) or \(80, 6\)"),
        ("fc2_weight", (80, 5), r"fc2_weight: got shape \(80, 5\)"),
        ("fc1_bias", (5,), r"fc1_bias: got shape \(5,\); need \(6,\)"),
        ("fc2_bias", (4,), r"fc2_bias: got shape \(4,\); need \(80,\)"),
        ("temperature", (2,), r"temperature: got shape \(2,\); need one number"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_that_do_not_fit_are_named(backend, field, shape, message):
    _, x, weight, branch = call()
    branch = branch._replace(**{field: torch.randn(shape)})
    with pytest.raises(ops.ArgumentError, match=message):
        ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 20, 3, 3), r"weight: got shape \(4, 20, 3, 3\); need \(K, C_out, C_in/groups, kH, kW\)"),
        ((0, 20, 1, 3, 3), r"weight: got shape \(0, 20, 1, 3, 3\)"),
        ((4, 20, 1, 0, 3), r"weight: got shape \(4, 20, 1, 0, 3\)"),
        ((4, 20, 2, 3, 3), r"weight: got shape \(4, 20, 2, 3, 3\)"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_banks_that_are_none_are_named(backend, shape, message):
    _, x, _, branch = call()
    with pytest.raises(ops.ArgumentError, match=message):
        ops.attended_conv2d(x, torch.randn(shape), branch, **WINDOW, groups=20, backend=backend)
