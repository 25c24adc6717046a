"""The registry of backends: what is registered, in which order, and what is listed and preferred."""

import threading

import pytest
import torch
from support.backends import WEIGHT, X, automatic, depthwise, names, negated

import ops
from ops.dispatch import registry
from ops.dispatch.order import measured_order


def test_backends_lists_eager_as_available():
    eager = {status.name: status for status in ops.backends()}["eager"]
    assert eager.available
    assert eager.reasons == ()
    assert eager.summary


def test_every_unavailable_backend_has_a_reason():
    assert all(status.available == (not status.reasons) for status in ops.backends())


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
        with pytest.raises(ops.ArgumentError, match="before: "):
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
        with pytest.raises(ops.ArgumentError, match=r"'eager' is taken; choose another name, or pass replace=True"):
            ops.register_backend(depthwise("eager"))
        before = names()
        ops.register_backend(depthwise("eager", summary="mine"), replace=True)
        assert names() == before
        assert "mine" in [status.summary for status in ops.backends()]

    @pytest.mark.parametrize("replace", [False, True])
    def test_auto_is_reserved(self, replace):
        with pytest.raises(ops.ArgumentError, match=r"backend\.name: 'auto' is taken; choose another name$"):
            ops.register_backend(depthwise("auto"), replace=replace)

    def test_an_unknown_before_is_refused(self):
        with pytest.raises(ops.ArgumentError, match=r"before: got 'eagre' \(did you mean 'eager'\?\)"):
            ops.register_backend(depthwise("negated"), before="eagre")
        assert "negated" not in names()


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
        (3, {}, {"device": "cuda", "channels_last": True}, "cupy"),
        (3, {}, {"device": "mps", "channels_last": True}, "eager"),
        (3, {}, {"device": "cuda", "channels_last": True, "operator": "per_sample_conv2d"}, "eager"),
        (1, {}, {"operator": "rewire_channels"}, "cpp"),
        (1, {}, {"operator": "rewire_channels", "device": "cuda", "channels_last": True}, "eager"),
        (3, {}, {"operator": "per_sample_conv2d", "needs_grad": True}, "eager"),
        (3, {}, {"operator": "feature_mixing"}, "eager"),
    ],
)
def test_measured_order(size, window, changes, first):
    window = ops.Window(**{"padding": (1, 1), **window})
    problem = ops.Problem.of("depthwise_conv2d", torch.randn(1, 8, 16, 16), kernel=(size, size), window=window)
    assert measured_order(problem._replace(**changes))[0] == first
