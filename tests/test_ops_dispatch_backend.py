"""What a backend is: its operators, their parts, what is prepared once, and a call as it is asked about."""

import threading
import time

import pytest
import torch
from support.backends import WEIGHT, X, automatic, depthwise, fail, negated

import ops


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
        assert set(status.operators) == {"depthwise_conv2d", "dynamic_depthwise", "attended_depthwise"}
        assert set(status.operators.values()) == {("got no chip, need one",)}
        with pytest.raises(ops.BackendUnavailable, match="got no chip"):
            ops.depthwise_conv2d(X, WEIGHT, backend="broken")
        assert tries == [1]

    def test_what_failed_is_tried_again_on_request_alone(self, backend_registry):
        chips = []

        def prepare():
            if not chips:
                raise ops.BackendUnavailable("got no chip, need one")

        ops.register_backend(depthwise("late", prepare=prepare))
        with pytest.raises(ops.BackendUnavailable, match="'late' cannot be made ready: got no chip"):
            ops.prepare_backend("late")
        chips.append("bought")
        with pytest.raises(ops.BackendUnavailable, match="got no chip"):
            ops.depthwise_conv2d(X, WEIGHT, backend="late")
        ops.prepare_backend("late")
        assert torch.equal(ops.depthwise_conv2d(X, WEIGHT, backend="late"), negated(X, WEIGHT))

    def test_threads_prepare_once(self, backend_registry):
        made, begun = [], threading.Barrier(3)

        def prepare():
            made.append(1)
            time.sleep(0.05)  # time for the others to come in, were they let

        ops.register_backend(depthwise("slow", prepare=prepare))

        def call():
            begun.wait()
            ops.depthwise_conv2d(X, WEIGHT, backend="slow")

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [1]

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
