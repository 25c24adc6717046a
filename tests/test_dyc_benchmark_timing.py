"""The timing core on a clock of its own, and memory on allocations that are known."""

import subprocess

import pytest
import torch

from dyc.benchmark.memory import peak_bytes
from dyc.benchmark.timing import MAX_ROUNDS, MIN_ROUNDS, measure, summary, take_turns


class Clock:
    """Time that passes only in calls; each call is noted."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, durations):
        durations = iter(durations)
        last = [0.0]

        def run():
            last[0] = next(durations, last[0])
            self.calls.append(name)
            self.now += last[0]

        return run


def test_every_contestant_has_one_turn_per_round_in_an_order_that_changes():
    clock = Clock()
    calls = {name: clock.call(name, [0.001]) for name in "abc"}
    times = take_turns(calls, seconds=0.03, clock=clock)
    assert {name: len(found) for name, found in times.items()} == {"a": 10, "b": 10, "c": 10}
    assert clock.calls[:3] == ["a", "b", "c"]  # the warm-up that tells how long a round is
    rounds = [tuple(clock.calls[i : i + 3]) for i in range(3, 33, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 2


def test_times_are_those_of_the_contestant_in_milliseconds_without_the_warm_up():
    clock = Clock()
    calls = {"slow first": clock.call("s", [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]), "steady": clock.call("t", [0.5])}
    times = take_turns(calls, seconds=1.0, clock=clock)
    assert times["slow first"] == pytest.approx([1000, 2000, 3000, 4000, 5000])
    assert times["steady"] == pytest.approx([500] * MIN_ROUNDS)


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-9, MIN_ROUNDS), (0.02, 20), (1e9, MAX_ROUNDS)])
def test_rounds_fill_the_time(seconds, rounds):
    clock = Clock()
    assert len(take_turns({"a": clock.call("a", [0.001])}, seconds=seconds, clock=clock)["a"]) == rounds


def test_a_turn_on_a_gpu_lasts_a_millisecond_between_two_synchronisations(monkeypatch):
    clock, waits = Clock(), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(len(clock.calls)))
    times = take_turns({"a": clock.call("a", [0.0004])}, device="cuda", seconds=1e-9, clock=clock)
    assert times["a"] == pytest.approx([0.4] * MIN_ROUNDS)
    # One call tells how long it takes; then turns of three calls, each between two waits.
    assert waits == [0, 1, 1, 4, 4, 7, 7, 10, 10, 13, 13, 16]


def test_summary():
    assert summary([5.0, 1.0, 4.0, 2.0, 3.0, 6.0]) == (3.5, 2.0, 5.0)
    assert summary([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_measure_takes_memory_where_it_is_told_to():
    found = measure({"a": lambda: torch.empty(256), "b": lambda: None}, seconds=0.001)
    assert (found["a"].peak_bytes, found["b"].peak_bytes) == (1024, 0)
    assert 0 < found["a"].p20_ms <= found["a"].median_ms <= found["a"].p80_ms
    other = measure({"a": lambda: None}, seconds=0.001, in_memory={"a": lambda: torch.empty(512)})
    assert other["a"].peak_bytes == 2048


def test_cudnn_chooses_by_trial_while_measuring_and_as_before_afterwards():
    before = torch.backends.cudnn.benchmark
    seen = set()
    measure({"a": lambda: seen.add((torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark))}, seconds=0.001)
    assert seen == {(True, True)}
    with pytest.raises(ZeroDivisionError):
        measure({"a": lambda: 1 / 0})
    assert torch.backends.cudnn.benchmark == before


def test_peak_is_the_most_that_was_held_at_once():
    def three_and_one_freed():
        a = torch.empty(1000, dtype=torch.float32)  # 4000 bytes
        b = torch.empty(500, dtype=torch.float32)  # 6000
        del a  # 2000
        c = torch.empty(750, dtype=torch.float32)  # 5000
        return b, c

    assert peak_bytes(three_and_one_freed) == 6000
    assert peak_bytes(lambda: None) == 0


def test_what_was_there_before_the_call_does_not_count():
    held = torch.ones(10_000)
    assert peak_bytes(held.relu_) == 0
    assert peak_bytes(lambda: held[:100].relu()) == 400


def test_what_autograd_keeps_and_gradients_count():
    x = torch.randn(1000, requires_grad=True)

    def step():
        torch.autograd.grad(x.exp().sum(), x)

    # exp is kept while its gradient is made; the sum and its gradient are 4 bytes each.
    assert 8000 <= peak_bytes(step) <= 8000 + 64


def test_peak_on_a_gpu_is_the_allocators_own_record(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: done.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 350)
    assert peak_bytes(lambda: done.append("call"), "cuda") == 250
    assert done == ["wait", "reset", "call", "wait"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_on_a_gpu():
    assert peak_bytes(lambda: torch.empty(1 << 20, device="cuda"), "cuda") == 1 << 22


def test_machine_names_the_commit(tmp_path):
    import dyc.benchmark.timing as timing

    facts = timing.machine()
    assert {"cpu", "threads", "load", "torch", "python", "commit"} <= set(facts)
    assert facts["torch"] == torch.__version__
    git = ["git", "-C", str(timing.Path(timing.__file__).parent), "rev-parse", "--short=9", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True)
    if done.returncode == 0:
        assert facts["commit"].removesuffix("-dirty") == done.stdout.strip()


def test_no_commit_outside_a_repository(tmp_path, monkeypatch):
    import dyc.benchmark.timing as timing

    monkeypatch.setattr(timing, "__file__", str(tmp_path / "timing.py"))
    assert timing._commit() == "none"
