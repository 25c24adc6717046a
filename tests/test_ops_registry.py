"""The registry of backends: what is listed, what is chosen, what is said when nothing can run."""

import threading

import pytest
import torch

import ops
from ops.dispatch import registry
from ops.dispatch.order import measured_order

X, WEIGHT = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 3, 3)


def negated(x, weight, stride, padding, dilation):
    """Compute something that no right backend does, so that a test sees who ran."""
    return -ops.depthwise_conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, backend="eager")


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
    return ops.select_backend(ops.Problem.of(X, WEIGHT, (1, 1), (0, 0), (1, 1))).name


@pytest.mark.usefixtures("backend_registry")
class TestRegister:
    def test_a_plug_in_comes_last(self):
        ops.register_backend(ops.Backend("negated", negated))
        assert names()[-1] == "negated"
        torch.testing.assert_close(ops.depthwise_conv2d(X, WEIGHT), negated(X, WEIGHT, 1, 0, 1).neg())

    def test_before_puts_it_ahead(self):
        first = automatic()
        ops.register_backend(ops.Backend("negated", negated), before=first)
        assert names().index("negated") == names().index(first) - 1
        ops.register_backend(ops.Backend("small", negated, lambda problem: ("got enough",)), before="negated")
        assert automatic() == "negated"
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT), negated(X, WEIGHT, 1, 0, 1))

    def test_two_before_the_same_keep_their_order(self):
        first = automatic()
        for name in ("one", "two"):
            ops.register_backend(ops.Backend(name, negated), before=first)
        assert automatic() == "one"
        listed = names()
        assert listed.index("one") < listed.index("two") < listed.index(first)

    @pytest.mark.parametrize(("name", "before"), [("negated", "auto"), ("eager", "cpp")])
    def test_a_place_that_makes_no_sense_is_refused_and_changes_nothing(self, name, before):
        state = (names(), dict(registry._BEFORE), list(registry._GENERATION))
        with pytest.raises(ops.ArgumentError, match="before: got"):
            ops.register_backend(ops.Backend(name, negated), before=before, replace=True)
        assert (names(), dict(registry._BEFORE), list(registry._GENERATION)) == state

    def test_one_that_replaces_another_is_prepared_anew(self):
        prepared = []
        for mark in ("old", "new"):
            backend = ops.Backend("slow", negated, prepare=lambda mark=mark: prepared.append(mark))
            ops.register_backend(backend, replace=True)
            ops.depthwise_conv2d(X, WEIGHT, backend="slow")
        assert prepared == ["old", "new"]

    def test_auto_passes_over_a_backend_that_cannot_run_the_call(self):
        small = ops.Backend("small", negated, lambda problem: ("got 3 channels, need 4",) * (problem.channels != 4))
        first = automatic()
        ops.register_backend(small, before=first)
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT), ops.depthwise_conv2d(X, WEIGHT, backend=first))
        assert torch.equal(
            ops.depthwise_conv2d(X.repeat(1, 4, 1, 1)[:, :4], WEIGHT.repeat(1, 4, 1, 1)[:, :4]),
            negated(X.repeat(1, 4, 1, 1)[:, :4], WEIGHT.repeat(1, 4, 1, 1)[:, :4], 1, 0, 1),
        )

    def test_a_taken_name_is_refused_unless_replaced(self):
        with pytest.raises(ops.ArgumentError, match=r"backend\.name: got 'eager'; need a name that is not taken"):
            ops.register_backend(ops.Backend("eager", negated))
        before = names()
        ops.register_backend(ops.Backend("eager", negated, summary="mine"), replace=True)
        assert names() == before
        assert "mine" in [status.summary for status in ops.backends()]

    @pytest.mark.parametrize("replace", [False, True])
    def test_auto_is_reserved(self, replace):
        with pytest.raises(ops.ArgumentError, match=r"backend\.name: got 'auto'"):
            ops.register_backend(ops.Backend("auto", negated), replace=replace)

    def test_an_unknown_before_is_refused(self):
        with pytest.raises(ops.ArgumentError, match=r"before: got 'eagre' \(did you mean 'eager'\?\)"):
            ops.register_backend(ops.Backend("negated", negated), before="eagre")
        assert "negated" not in names()


@pytest.mark.usefixtures("backend_registry")
class TestNamedBackend:
    def test_it_never_falls_back_and_lists_every_reason(self):
        reasons = ("got 3 channels, need 4", "got float32, need float16")
        ops.register_backend(ops.Backend("picky", negated, lambda problem: reasons))
        with pytest.raises(ops.BackendUnavailable) as error:
            ops.depthwise_conv2d(X, WEIGHT, backend="picky")
        assert "'picky'" in str(error.value)
        assert all(reason in str(error.value) for reason in reasons)

    def test_what_the_machine_lacks_is_listed_without_a_call(self):
        ops.register_backend(ops.Backend("absent", negated, missing=("got no such chip, need one",)))
        status = ops.backends()[-1]
        assert (status.available, status.reasons) == (False, ("got no such chip, need one",))
        with pytest.raises(ops.BackendUnavailable, match="need one"):
            ops.depthwise_conv2d(X, WEIGHT, backend="absent")

    def test_use_backend_is_as_strict(self):
        ops.register_backend(ops.Backend("absent", negated, missing=("got no such chip, need one",)))
        with ops.use_backend("absent"), pytest.raises(ops.BackendUnavailable, match="need one"):
            ops.depthwise_conv2d(X, WEIGHT)

    def test_auto_says_what_each_lacks_when_none_can_run(self):
        registry._REGISTRY.clear()
        for name in ("first", "second"):
            ops.register_backend(ops.Backend(name, negated, missing=(f"{name} needs a chip",)))
        with pytest.raises(ops.BackendUnavailable, match=r"(?s)first needs a chip.*second needs a chip"):
            ops.depthwise_conv2d(X, WEIGHT)


@pytest.mark.usefixtures("backend_registry")
class TestUseBackend:
    @pytest.fixture(autouse=True)
    def _negated(self, backend_registry):
        ops.register_backend(ops.Backend("negated", negated))

    def is_negated(self, **kwargs) -> bool:
        return torch.equal(ops.depthwise_conv2d(X, WEIGHT, **kwargs), negated(X, WEIGHT, 1, 0, 1))

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
    ops.register_backend(ops.Backend("picky", negated, lambda problem: ("got 3 channels, need 4", "got float32")))
    first, *lines = ops.explain(X, WEIGHT, backend="eager").splitlines()
    assert first == "backend 'eager' runs this call"
    assert "  eager: can run" in lines
    assert "  picky: got 3 channels, need 4; got float32" in lines
    assert len(lines) == len(names())


def test_a_problem_describes_its_call():
    x = torch.randn(2, 3, 8, 7, dtype=torch.bfloat16, requires_grad=True).contiguous(memory_format=torch.channels_last)
    problem = ops.Problem.of(x, torch.randn(2, 3, 5, 3), (1, 2), (0, 1), (2, 1))
    assert (problem.batch, problem.channels, problem.size, problem.kernel) == (2, 3, (8, 7), (5, 3))
    assert (problem.stride, problem.padding, problem.dilation) == ((1, 2), (0, 1), (2, 1))
    assert (problem.dtype, problem.device, problem.channels_last) == (torch.bfloat16, "cpu", True)
    assert problem.needs_grad
    with torch.no_grad():
        assert not ops.Problem.of(x, torch.randn(2, 3, 5, 3), (1, 2), (0, 1), (2, 1)).needs_grad


@pytest.mark.parametrize(
    ("size", "geometry", "changes", "first"),
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
    ],
)
def test_measured_order(size, geometry, changes, first):
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), **geometry}
    problem = ops.Problem.of(torch.randn(1, 8, 16, 16), torch.randn(1, 8, size, size), **geometry)
    assert measured_order(problem._replace(**changes))[0] == first
