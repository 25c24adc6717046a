"""Two processes that train one network end after the same step, whichever of them is sent a signal, and go on."""

import signal

import pytest
from support.kills import CONFIGURATIONS, SHARED, compared
from support.ranks import together

from lightning_modules.cli.training import main

TOGETHER = ["--trainer.devices=2", "--trainer.strategy=ddp", "--ckpt_path=auto"]


def train(folder, monkeypatch, name, *more):
    """Train, or go on, and return the exit status of each process."""

    def work(rank):
        try:
            main(["fit", *SHARED, *CONFIGURATIONS["annealing and EMA"], *TOGETHER, f"--name={name}", *more])
        except SystemExit as stop:
            return stop.code
        return 0

    monkeypatch.chdir(folder)
    return together(work)


@pytest.mark.exhaustive  # five trainings in two processes
def test_a_signal_to_one_process_ends_both_and_both_go_on(tmp_path, monkeypatch):
    assert train(tmp_path, monkeypatch, "undisturbed") == [0, 0]
    for moment, number in (("step", signal.SIGTERM), ("validation", signal.SIGUSR1)):
        callback = ["--trainer.callbacks+=own_callbacks.Signal", f"--trainer.callbacks.moment={moment}"]
        status = 128 + number
        assert train(tmp_path, monkeypatch, moment, *callback, f"--trainer.callbacks.number={number}") == [status] * 2
        assert (tmp_path / f"runs/{moment}/version_0/checkpoints/last.ckpt").is_file()
        assert train(tmp_path, monkeypatch, moment) == [0, 0]
        assert compared(tmp_path, moment, "undisturbed") == []
