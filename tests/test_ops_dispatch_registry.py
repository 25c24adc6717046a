"""The registry of backends: what is listed, what is chosen, what is said when nothing can run."""

import threading

import pytest
import torch

import ops
from ops.dispatch import registry
from ops.dispatch.operators import with_parts
from ops.dispatch.order import measured_order

X, WEIGHT = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 3, 3)
UNIT = ops.Window()


def negated(x, weight, window=UNIT):
    """Compute something that no right backend does, so that a test sees who ran."""
    return -ops.depthwise_conv2d(x, weight, **window._asdict(), backend="eager")


def depthwise(name, unmet=None, prepare=None, **kwargs):
    """Return a backend with that one operator."""
    options = {} if unmet is None else {"unmet": unmet}
    return ops.Backend(name, {"depthwise_conv2d": ops.Implementation(negated, prepare=prepare, **options)}, **kwargs)


def names() -> list[str]:
    return [status.name for status in ops.backends()]


def test_backends_lists_eager_as_available():
    eager = {status.name: status for status in ops.backends()}["eager"]
    assert eager.available
    assert eager.reasons == ()
    assert eager.summary


def test_every_unavailable_backend_has_a_reason():
    assert all(status.available == (not status.reasons) for status in ops.backends())


def automatic() -> str:
    """Name the backend that runs ``depthwise_conv2d(X, WEIGHT)``."""
    return ops.select_backend(ops.Problem.of("depthwise_conv2d", X, WEIGHT, kernel=(3, 3))).name


@pytest.mark.usefixtures("backend_registry")
class TestRegister:
    def test_a_plug_in_comes_last(self):
        ops.register_backend(depthwise("negated"))
        assert names()[-1] == "negated"
        torch.testing.assert_close(ops.depthwise_conv2d(X, WEIGHT), negated(X, WEIGHT).neg())

    def test_before_puts_it_ahead(self):
        first = automatic()
        ops.register_backend(depthwise("negated"), before=first)
        assert names().index("negated") == names().index(first) - 1
        ops.register_backend(depthwise("small", lambda problem: ("got enough",)), before="negated")
        assert automatic() == "negated"
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT), negated(X, WEIGHT))

    def test_two_before_the_same_keep_their_order(self):
        first = automatic()
        for name in ("one", "two"):
            ops.register_backend(depthwise(name), before=first)
        assert automatic() == "one"
        listed = names()
        assert listed.index("one") < listed.index("two") < listed.index(first)

    @pytest.mark.parametrize(("name", "before"), [("negated", "auto"), ("eager", "cpp")])
    def test_a_place_that_makes_no_sense_is_refused_and_changes_nothing(self, name, before):
        state = (names(), dict(registry._BEFORE), list(registry._GENERATION))
        with pytest.raises(ops.ArgumentError, match="before: got"):
            ops.register_backend(depthwise(name), before=before, replace=True)
        assert (names(), dict(registry._BEFORE), list(registry._GENERATION)) == state

    def test_one_that_replaces_another_is_prepared_anew(self):
        prepared = []
        for mark in ("old", "new"):
            backend = depthwise("slow", prepare=lambda mark=mark: prepared.append(mark))
            ops.register_backend(backend, replace=True)
            ops.depthwise_conv2d(X, WEIGHT, backend="slow")
        assert prepared == ["old", "new"]

    def test_auto_passes_over_a_backend_that_cannot_run_the_call(self):
        small = depthwise("small", lambda problem: ("got 3 channels, need 4",) * (problem.channels != 4))
        first = automatic()
        ops.register_backend(small, before=first)
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT), ops.depthwise_conv2d(X, WEIGHT, backend=first))
        assert torch.equal(
            ops.depthwise_conv2d(X.repeat(1, 4, 1, 1)[:, :4], WEIGHT.repeat(1, 4, 1, 1)[:, :4]),
            negated(X.repeat(1, 4, 1, 1)[:, :4], WEIGHT.repeat(1, 4, 1, 1)[:, :4]),
        )

    def test_a_taken_name_is_refused_unless_replaced(self):
        with pytest.raises(ops.ArgumentError, match=r"backend\.name: got 'eager'; need a name that is not taken"):
            ops.register_backend(depthwise("eager"))
        before = names()
        ops.register_backend(depthwise("eager", summary="mine"), replace=True)
        assert names() == before
        assert "mine" in [status.summary for status in ops.backends()]

    @pytest.mark.parametrize("replace", [False, True])
    def test_auto_is_reserved(self, replace):
        with pytest.raises(ops.ArgumentError, match=r"backend\.name: got 'auto'"):
            ops.register_backend(depthwise("auto"), replace=replace)

    def test_an_unknown_before_is_refused(self):
        with pytest.raises(ops.ArgumentError, match=r"before: got 'eagre' \(did you mean 'eager'\?\)"):
            ops.register_backend(depthwise("negated"), before="eagre")
        assert "negated" not in names()


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

    def test_auto_says_what_each_lacks_when_none_can_run(self):
        registry._REGISTRY.clear()
        for name in ("first", "second"):
            ops.register_backend(depthwise(name, missing=(f"{name} needs a chip",)))
        with pytest.raises(ops.BackendUnavailable, match=r"(?s)first needs a chip.*second needs a chip"):
            ops.depthwise_conv2d(X, WEIGHT)


@pytest.mark.usefixtures("backend_registry")
class TestUseBackend:
    @pytest.fixture(autouse=True)
    def _negated(self, backend_registry):
        ops.register_backend(depthwise("negated"))

    def is_negated(self, **kwargs) -> bool:
        return torch.equal(ops.depthwise_conv2d(X, WEIGHT, **kwargs), negated(X, WEIGHT))

    def test_it_holds_inside_the_block_only(self):
        with ops.use_backend("negated"):
            assert self.is_negated()
        assert not self.is_negated()

    def test_a_named_backend_wins_over_it(self):
        with ops.use_backend("negated"):
            assert not self.is_negated(backend="eager")

    def test_blocks_nest(self):
        with ops.use_backend("negated"):
            with ops.use_backend("eager"):
                assert not self.is_negated()
            assert self.is_negated()
            with ops.use_backend("auto"):
                assert not self.is_negated()
            assert self.is_negated()

    def test_an_exception_ends_it(self):
        with pytest.raises(KeyError), ops.use_backend("negated"):
            raise KeyError
        assert not self.is_negated()

    def test_an_unknown_name_is_refused_before_the_block(self):
        with pytest.raises(ops.ArgumentError, match=r"did you mean 'negated'\?"), ops.use_backend("negatd"):
            pytest.fail("the block ran")

    def test_other_threads_do_not_see_it(self):
        seen = []
        with ops.use_backend("negated"):
            thread = threading.Thread(target=lambda: seen.append(self.is_negated()))
            thread.start()
            thread.join()
        assert seen == [False]

    def test_it_reaches_dynamic_conv2d(self):
        bank, attention = torch.randn(4, 3, 1, 3, 3), torch.rand(2, 4)
        plain = ops.dynamic_conv2d(X, bank, attention, groups=3, backend="eager")
        with ops.use_backend("negated"):
            assert torch.equal(ops.dynamic_conv2d(X, bank, attention, groups=3), -plain)
        assert torch.equal(ops.dynamic_conv2d(X, bank, attention, groups=3, backend="negated"), -plain)


@pytest.mark.usefixtures("backend_registry")
def test_explain_names_the_choice_and_every_reason():
    ops.register_backend(depthwise("picky", lambda problem: ("got 3 channels, need 4", "got float32")))
    first, *lines = ops.explain(X, WEIGHT, backend="eager").splitlines()
    assert first == "backend 'eager' runs this call"
    assert "  eager: can run" in lines
    assert "  picky: got 3 channels, need 4; got float32" in lines
    assert len(lines) == len(names())


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
        with ops.use_backend("other"):
            assert torch.equal(function(**arguments), function(**arguments))

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
        assert "  eager: can run" in lines
        assert f"  other: has no {operator}" in lines
        assert len(lines) == len(names())


def fail(*_):
    raise AssertionError


def test_explain_refuses_what_is_no_operator(raises):
    with raises("operator", "max", "one of ops.depthwise_conv2d"):
        ops.explain(max, X, WEIGHT)


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


class TestPreparation:
    def test_one_preparation_serves_all_operators_that_share_it(self, backend_registry):
        made = []
        shared = ops.Preparation(lambda: made.append(1))
        both = {n: ops.Implementation(negated, prepare=shared) for n in ("depthwise_conv2d", "per_sample_conv2d")}
        ops.register_backend(ops.Backend("slow", both))
        assert made == []
        ops.prepare_backend("slow")
        ops.depthwise_conv2d(X, WEIGHT, backend="slow")
        assert made == [1]

    def test_a_failure_is_tried_once_listed_and_passed_over(self, backend_registry):
        tries = []

        def prepare():
            tries.append(1)
            raise ops.BackendUnavailable("got no chip, need one")

        ops.register_backend(depthwise("broken", prepare=prepare), before=automatic())
        with pytest.warns(UserWarning, match="'broken' is not available: got no chip"):
            y = ops.depthwise_conv2d(X, WEIGHT)
        assert torch.equal(y, ops.depthwise_conv2d(X, WEIGHT))
        status = {status.name: status for status in ops.backends()}["broken"]
        assert (status.available, status.reasons) == (False, ("got no chip, need one",))
        assert status.operators == {"depthwise_conv2d": ("got no chip, need one",)}
        for call in (lambda: ops.depthwise_conv2d(X, WEIGHT, backend="broken"), lambda: ops.prepare_backend("broken")):
            with pytest.raises(ops.BackendUnavailable, match="got no chip"):
                call()
        assert tries == [1]

    def test_one_operator_may_fail_alone(self, backend_registry):
        def prepare():
            raise ops.BackendUnavailable("got no chip, need one")

        half = {
            "depthwise_conv2d": ops.Implementation(negated),
            "rewire_channels": ops.Implementation(fail, prepare=prepare),
        }
        ops.register_backend(ops.Backend("half", half))
        with pytest.raises(ops.BackendUnavailable, match="'half' cannot be made ready: got no chip"):
            ops.prepare_backend("half")
        status = ops.backends()[-1]
        assert (status.available, status.reasons) == (True, ())
        assert status.operators["rewire_channels"] == ("got no chip, need one",)
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT, backend="half"), negated(X, WEIGHT))

    def test_auto_is_no_backend_to_prepare(self, raises):
        with raises("backend", "'auto'", "one of 'eager'"):
            ops.prepare_backend("auto")


@pytest.mark.parametrize(
    ("operators", "argument", "got", "need"),
    [
        ({}, "operators", "{}", "at least one"),
        (negated, "operators", "negated", "at least one"),
        ({"depthwise": ops.Implementation(negated)}, "operators", "did you mean 'depthwise_conv2d'", "rewire_channels"),
        ({"depthwise_conv2d": negated}, "operators['depthwise_conv2d']", "negated", "an ops.Implementation"),
    ],
    ids=["none", "a_function", "misspelt", "bare_function"],
)
def test_operators_of_a_backend_that_cannot_be_used(raises, operators, argument, got, need):
    with raises(argument, got, need):
        ops.Backend("mine", operators)


def test_a_problem_describes_its_call():
    x = torch.randn(2, 3, 8, 7, dtype=torch.bfloat16, requires_grad=True).contiguous(memory_format=torch.channels_last)
    window = ops.Window((1, 2), (0, 1), (2, 1))
    weight = torch.randn(2, 3, 5, 3)
    problem = ops.Problem.of("depthwise_conv2d", x, weight, kernel=(5, 3), window=window)
    assert (problem.batch, problem.channels, problem.size, problem.kernel) == (2, 3, (8, 7), (5, 3))
    assert problem.window == window
    assert (problem.dtype, problem.device, problem.channels_last) == (torch.bfloat16, "cpu", True)
    assert problem.needs_grad
    with torch.no_grad():
        assert not ops.Problem.of("depthwise_conv2d", x, weight, kernel=(5, 3)).needs_grad


@pytest.mark.parametrize(
    ("size", "window", "changes", "first"),
    [
        (3, {}, {}, "cpp"),
        (5, {"stride": (2, 2)}, {"batch": 32}, "cpp"),
        (7, {}, {"batch": 32}, "eager"),
        (7, {}, {"batch": 32, "needs_grad": True}, "cpp"),
        (7, {}, {"batch": 32, "channels_last": True}, "cpp"),
        (9, {}, {"batch": 32, "channels_last": True}, "eager"),
        (3, {"dilation": (2, 2)}, {}, "cpp"),
        (3, {"dilation": (2, 2)}, {"batch": 32}, "eager"),
        (3, {}, {"device": "cuda"}, "eager"),
        (1, {}, {"operator": "rewire_channels"}, "cpp"),
        (1, {}, {"operator": "rewire_channels", "device": "cuda"}, "eager"),
        (3, {}, {"operator": "per_sample_conv2d", "needs_grad": True}, "eager"),
        (3, {}, {"operator": "feature_mixing"}, "eager"),
    ],
)
def test_measured_order(size, window, changes, first):
    window = ops.Window(**{"padding": (1, 1), **window})
    problem = ops.Problem.of("depthwise_conv2d", torch.randn(1, 8, 16, 16), kernel=(size, size), window=window)
    assert measured_order(problem._replace(**changes))[0] == first
