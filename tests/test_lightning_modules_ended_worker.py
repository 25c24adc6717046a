"""A process that reads images and ends by itself: one line says how, and what to do."""

import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from lightning_modules.ended_worker import ended_worker, is_ended_worker

LOWER = "lower --data.num_workers, which may be 0"
SHARED = "too little shared memory (/dev/shm) is the usual reason; make it larger, or"


class Ends(Dataset):
    def __init__(self, end):
        self.end = end

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.end()


@pytest.fixture
def signals_heard(monkeypatch):
    """Let PyTorch hear how processes end, also where another library has taken its place since it began to listen."""
    before = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    yield
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            f"was killed (Killed): too little memory is the usual reason; {LOWER}",
        ),
        (
            lambda: os.kill(os.getpid(), signal.SIGBUS),
            f"was killed (Bus error): {SHARED} {LOWER}",
        ),
        (lambda: os._exit(3), f"ended: its own output, if any, stands above; {LOWER}"),
    ],
    ids=["memory", "shared_memory", "exit"],
)
def test_what_pytorch_raises_is_understood(end, said):
    with pytest.raises(RuntimeError) as error:
        list(DataLoader(Ends(end), num_workers=1, multiprocessing_context="fork"))
    assert is_ended_worker(error.value)
    assert ended_worker(error.value) == f"data.num_workers: a process that reads images {said}"


def test_other_errors_are_not_meant():
    assert not is_ended_worker(RuntimeError("shape '[2]' is invalid"))
    assert not is_ended_worker(ValueError("DataLoader worker (pid 7) exited unexpectedly"))
