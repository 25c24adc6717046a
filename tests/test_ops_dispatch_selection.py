"""Which backend runs a call of each operator, and what is said when none can."""

import pytest
import torch
from support.backends import WEIGHT, X, depthwise, fail, names, negated

import ops
from ops.dispatch import registry
from ops.dispatch.operators import with_parts


@pytest.mark.usefixtures("backend_registry")
class TestNamedBackend:
    def test_it_never_falls_back_and_lists_every_reason(self):
        reasons = ("got 3 channels, need 4", "got float32, need float16")
        ops.register_backend(depthwise("picky", lambda problem: reasons))
        with pytest.raises(ops.BackendUnavailable) as error:
            ops.depthwise_conv2d(X, WEIGHT, backend="picky")
        assert "'picky'" in str(error.value)
        assert all(reason in str(error.value) for reason in reasons)

    def test_what_the_machine_lacks_is_listed_without_a_call(self):
        ops.register_backend(depthwise("absent", missing=("got no such chip, need one",)))
        status = ops.backends()[-1]
        assert (status.available, status.reasons) == (False, ("got no such chip, need one",))
        with pytest.raises(ops.BackendUnavailable, match="need one"):
            ops.depthwise_conv2d(X, WEIGHT, backend="absent")

    def test_use_backend_is_as_strict(self):
        ops.register_backend(depthwise("absent", missing=("got no such chip, need one",)))
        with ops.use_backend("absent"), pytest.raises(ops.BackendUnavailable, match="need one"):
            ops.depthwise_conv2d(X, WEIGHT)

    def test_auto_says_what_each_lacks_when_none_can_run(self, monkeypatch):
        monkeypatch.setattr(registry, "_REGISTRY", {})
        for name in ("first", "second"):
            ops.register_backend(depthwise(name, missing=(f"{name} needs a chip",)))
        with pytest.raises(ops.BackendUnavailable, match=r"(?s)first needs a chip.*second needs a chip"):
            ops.depthwise_conv2d(X, WEIGHT)


DENSE = {"x": X, "weight": torch.randn(4, 6, 3, 3, 3), "attention": torch.rand(2, 4), "padding": 1}
POINTWISE = {**DENSE, "weight": torch.randn(4, 6, 3, 1, 1), "padding": 0}
DEPTHWISE = {**DENSE, "weight": torch.randn(4, 3, 1, 3, 3), "groups": 3}
KERNELS = {"x": X, "weight": torch.randn(2, 6, 3, 3, 3)}
REWIRED = {
    "x": X,
    "slots": torch.tensor([0]),
    "sources": torch.tensor([1]),
    "shift": torch.zeros(1, 2),
}
BRANCH = ops.GlobalBranch(torch.randn(2, 3), None, torch.randn(4, 2), None, torch.tensor(1.0))
ATTENDED = {"x": X, "weight": DENSE["weight"], "branch": BRANCH, "padding": 1}

CALLS = {
    "depthwise": (ops.depthwise_conv2d, {"x": X, "weight": WEIGHT}, "depthwise_conv2d"),
    "bank": (ops.dynamic_conv2d, DEPTHWISE, "dynamic_depthwise"),
    "dense": (ops.dynamic_conv2d, {**DENSE, "mixing": "kernels"}, "per_sample_conv2d"),
    "pointwise": (ops.dynamic_conv2d, {**POINTWISE, "mixing": "kernels"}, "per_sample_conv2d"),
    "features": (ops.dynamic_conv2d, {**DENSE, "mixing": "features"}, "feature_mixing"),
    "depthwise_features": (ops.dynamic_conv2d, {**DEPTHWISE, "mixing": "features"}, "feature_mixing"),
    "per_sample": (ops.per_sample_conv2d, KERNELS, "per_sample_conv2d"),
    "attended": (ops.attended_conv2d, {**ATTENDED, "weight": DEPTHWISE["weight"], "groups": 3}, "attended_depthwise"),
    "attended_dense": (ops.attended_conv2d, {**ATTENDED, "mixing": "kernels"}, "per_sample_conv2d"),
    "rewire": (ops.rewire_channels, REWIRED, "rewire_channels"),
}


@pytest.mark.parametrize(("function", "arguments", "operator"), CALLS.values(), ids=CALLS)
class TestEveryOperator:
    @pytest.mark.usefixtures("backend_registry")
    def test_a_named_backend_without_it_raises_and_names_those_that_have_it(self, function, arguments, operator):
        mine = next(name for name in ("depthwise_conv2d", "rewire_channels") if name not in with_parts(operator))
        ops.register_backend(ops.Backend("other", {mine: ops.Implementation(fail)}))
        with pytest.raises(ops.BackendUnavailable) as error:
            function(**arguments, backend="other")
        assert str(error.value).startswith("backend 'other' cannot run this call: got no ")
        assert repr(operator) in str(error.value)
        able = [name for name in names() if ops.backend_lacks(name, operator) is None]
        assert "eager" in able
        assert str(error.value).endswith("need " + " or ".join(map(repr, able)))

    @pytest.mark.usefixtures("backend_registry")
    def test_use_backend_leaves_it_to_the_library_where_the_backend_has_none(self, function, arguments, operator):
        mine = next(name for name in ("depthwise_conv2d", "rewire_channels") if name not in with_parts(operator))
        ops.register_backend(ops.Backend("other", {mine: ops.Implementation(fail)}))
        want = function(**arguments)
        with ops.use_backend("other"):
            assert torch.equal(function(**arguments), want)
            assert "backend 'other'" not in ops.explain(function, **arguments)

    @pytest.mark.usefixtures("backend_registry")
    def test_one_that_has_it_runs_it_and_nothing_else(self, function, arguments, operator):
        ran = []

        def run(*args):
            ran.append(len(args))
            return X

        ops.register_backend(ops.Backend("mine", {operator: ops.Implementation(run)}))
        assert function(**arguments, backend="mine").shape == X.shape
        with ops.use_backend("mine"):
            function(**arguments)
        assert len(ran) == 2

    @pytest.mark.usefixtures("backend_registry")
    def test_one_that_cannot_run_it_says_why(self, function, arguments, operator):
        picky = ops.Implementation(fail, lambda problem: (f"got {problem.operator}, need another",))
        ops.register_backend(ops.Backend("picky", {operator: picky}))
        for call in (
            lambda: function(**arguments, backend="picky"),
            lambda: ops.explain(function, **arguments, backend="picky"),
        ):
            with pytest.raises(ops.BackendUnavailable, match=f"'picky' .*: got {operator}, need another"):
                call()
        with ops.use_backend("picky"), pytest.raises(ops.BackendUnavailable, match="need another"):
            function(**arguments)

    @pytest.mark.usefixtures("backend_registry")
    def test_explain_covers_it(self, function, arguments, operator):
        mine = next(name for name in ("depthwise_conv2d", "rewire_channels") if name not in with_parts(operator))
        ops.register_backend(ops.Backend("other", {mine: ops.Implementation(fail)}))
        first, *lines = ops.explain(function, **arguments).splitlines()
        assert first.endswith("runs this call")
        part = " (by depthwise_conv2d)" if "depthwise_conv2d" in with_parts(operator)[1:] else ""
        assert f"  eager: can run{part}" in lines
        assert f"  other: has no {operator}" in lines
        assert len(lines) == len(names())


class TestParts:
    def test_the_part_runs_where_the_whole_is_missing_and_pytorch_does_the_rest(self, backend_registry):
        ops.register_backend(depthwise("negated"))
        for name in ("bank", "attended"):
            function, arguments, _ = CALLS[name]
            plain = function(**arguments, backend="eager")
            torch.testing.assert_close(function(**arguments, backend="negated"), -plain)

    def test_the_part_runs_where_the_whole_cannot(self, backend_registry):
        whole = ops.Implementation(fail, lambda problem: ("got anything, need nothing",))
        part = ops.Implementation(negated)
        ops.register_backend(ops.Backend("both", {"dynamic_depthwise": whole, "depthwise_conv2d": part}))
        function, arguments, _ = CALLS["bank"]
        torch.testing.assert_close(function(**arguments, backend="both"), -function(**arguments, backend="eager"))

    def test_the_whole_does_not_run_for_its_part(self, backend_registry):
        ops.register_backend(ops.Backend("whole", {"attended_depthwise": ops.Implementation(fail)}))
        with pytest.raises(ops.BackendUnavailable, match="got no 'depthwise_conv2d'"):
            ops.depthwise_conv2d(X, WEIGHT, backend="whole")


@pytest.mark.usefixtures("backend_registry")
@pytest.mark.parametrize("preferred", [False, True])
def test_what_is_mixed_by_auto_is_what_the_backend_in_force_has(preferred):
    """On maps so small that mixing features is cheaper, a backend without it mixes kernels, named or preferred."""
    ran = []

    def run(x, kernels, window, groups):
        ran.append(kernels.shape)
        return x.new_zeros(2, 16, 1, 1)

    ops.register_backend(ops.Backend("mine", {"per_sample_conv2d": ops.Implementation(run)}))
    x, bank, attention = torch.randn(2, 64, 1, 1), torch.randn(4, 16, 64, 1, 1), torch.rand(2, 4)
    if preferred:
        with ops.use_backend("mine"):
            ops.dynamic_conv2d(x, bank, attention)
    else:
        ops.dynamic_conv2d(x, bank, attention, backend="mine")
    assert ran == [(2, 16, 64, 1, 1)]


@pytest.mark.usefixtures("backend_registry")
def test_a_choice_is_kept_no_longer_than_its_backend():
    first = ops.Implementation(negated)
    ops.register_backend(ops.Backend("mine", {"depthwise_conv2d": first}))
    assert torch.equal(ops.depthwise_conv2d(X, WEIGHT, backend="mine"), negated(X, WEIGHT))
    second = ops.Implementation(lambda x, weight, window: 2 * negated(x, weight, window))
    ops.register_backend(ops.Backend("mine", {"depthwise_conv2d": second}), replace=True)
    assert torch.equal(ops.depthwise_conv2d(X, WEIGHT, backend="mine"), 2 * negated(X, WEIGHT))
