"""Signals end a training after the step that runs, and at once where it only waits."""

import os
import signal
import threading
import time

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import Dataset

from lightning_modules.data.loaders import EpochLoader, EpochSampler, InterruptibleLoader
from lightning_modules.interruption import hold, interruptible, waiting


@pytest.fixture
def interruption():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with interruptible() as found:
        yield found
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_waits_for_a_step(interruption, number):
    with waiting():  # before a loop has begun, anything ends at once
        pass
    hold(may_wait=True)
    signal.raise_signal(number)
    assert interruption.by == number
    with pytest.raises(SIGTERMException), waiting():
        raise AssertionError("nothing is begun any more")
    with pytest.raises(SIGTERMException):  # a test after the training
        hold(may_wait=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_before_a_loop_it_ends_at_once(interruption, number):
    with pytest.raises(SIGTERMException):
        signal.raise_signal(number)
    with pytest.raises(SIGTERMException):  # as Python swallows an exception in __del__, say
        hold(may_wait=True)


def test_rows_of_a_batch_are_written_whole(interruption):
    hold(may_wait=False)
    signal.raise_signal(signal.SIGUSR1)
    with waiting():
        assert interruption.held


def test_a_second_ctrl_c_ends_the_process_by_itself(interruption, capfd):
    hold(may_wait=True)
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert capfd.readouterr().err == "\nends after this step; Ctrl-C once more ends at once\n"


def test_several_processes_wait_until_they_agree(interruption, monkeypatch):
    monkeypatch.setattr("lightning_modules.interruption._several", lambda: True)
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("Lightning's, which waits for the others"))
    try:
        hold(may_wait=True)
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(number)
    finally:
        signal.signal(signal.SIGTERM, before)
    with waiting():  # alone, a process that ends here would let the others wait
        assert interruption.by == signal.SIGUSR1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_thread_handles_no_signals():
    def run():
        before = signal.getsignal(signal.SIGTERM)
        with interruptible():
            hold(may_wait=True)
            found.append(signal.getsignal(signal.SIGTERM) is before)

    found = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [True]


class Slow(Dataset):
    def __init__(self, slow, seconds):
        self.slow, self.seconds = slow, seconds

    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(self.seconds if index >= self.slow else 0)
        return torch.tensor(index)


@pytest.mark.parametrize("slow", [0, 4])  # the first batch, and a later one
@pytest.mark.parametrize("kind", ["training", "evaluation", "workers"])
def test_nobody_waits_for_images(interruption, kind, slow):
    data = Slow(slow, 1.0 if kind == "workers" else 600.0)  # a worker that is busy is waited for
    if kind == "training":
        loader = EpochLoader(data, sampler=EpochSampler(8, 0), batch_size=2)
    else:
        loader = InterruptibleLoader(data, batch_size=2, num_workers=kind == "workers")
    hold(may_wait=True)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    served = []
    with pytest.raises(SIGTERMException):
        served.extend(loader)
    assert len(served) < 4


def test_a_loader_serves_all(interruption):
    hold(may_wait=True)
    assert torch.cat(list(InterruptibleLoader(Slow(8, 0), batch_size=3))).tolist() == list(range(8))
