"""Trainings as jobs of submitit, whose local executor stands for a cluster."""

import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.fake_training import FakeTraining, write_checkpoint

from experiments.papers.entries import Figure, Row
from experiments.records import read_all
from experiments.run import cluster
from experiments.run.cluster import Job, executor_options, submit
from experiments.run.parser import parser
from experiments.run.plan import Item
from lightning_modules.cli.jobs.training import State


@pytest.fixture
def item(tmp_path):
    def make(name: str) -> Item:
        training = FakeTraining(name, ("--trainer.max_epochs=2",), tmp_path)
        figure = Figure("top1_error", "4.0", "%")
        row = Row("tiny/table1/row", "A", "D", {"top1_error": figure})
        return Item(row, "train", "quick", (figure,), "new", 0, training)

    write_checkpoint(tmp_path / "checkpoint", 1)
    return make


@pytest.fixture
def options(tmp_path):
    return lambda *words: parser().parse_args(["tiny", f"--runs={tmp_path}", f"--results={tmp_path}", *words])


def test_a_preempted_job_saves_and_goes_on_when_it_runs_again(item, tmp_path, monkeypatch):
    job, again = Job(item("wait"), tmp_path), []
    training = job.item.training

    def preempted(*_):
        again.append(job.checkpoint())
        raise SystemExit(-1)

    def send():
        while not list(training.folder.glob("version_0/metrics.csv")):
            time.sleep(0.02)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, preempted)
    try:
        threading.Thread(target=send).start()
        with pytest.raises(SystemExit):
            job()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert training.state() == State("interrupted", 1)
    assert not list(read_all(tmp_path))
    assert again[0].function() == ("finished", "test top-1 75.00% in 0 s")
    assert [record.value for record in read_all(tmp_path)] == ["25"]


class Ended:
    """A job that has ended."""

    job_id = "here"

    def __init__(self, found):
        self.done, self.exception, self.result = lambda: True, lambda: None, lambda: found


class AtOnce:
    """An executor whose jobs run here, as they are submitted."""

    batch = nullcontext

    def submit(self, job):
        return Ended(job())


def test_one_that_fails_is_told_and_the_others_are_recorded(item, options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "_executor", lambda *_: AtOnce())
    assert submit([item("fail"), item("a")], options("--cluster=local")) == (None, False)
    assert [record.value for record in read_all(tmp_path)] == ["25"]
    shown = capsys.readouterr().err
    assert "a: finished: test top-1 75.00%" in shown
    assert "fail: failed: ended with exit status 2" in shown


@pytest.mark.exhaustive  # a process that loads PyTorch
def test_jobs_of_the_local_executor_train_and_record(item, options, tmp_path, monkeypatch, capsys):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
    local = options("--cluster=local", "--cluster_options", "timeout_min=60")
    assert submit([item("a")], local) == (None, True)
    assert [record.value for record in read_all(tmp_path)] == ["25"]
    assert "a: finished: test top-1 75.00%" in capsys.readouterr().err


def test_what_the_cluster_needs_is_said_before_anything_runs(options, raises, monkeypatch):
    assert executor_options(options("--cluster=local", "--cluster_options", "gpus_per_node=2"))["gpus_per_node"] == 2
    with raises("cluster_options", "'timeout_min'", "NAME=VALUE"):
        executor_options(options("--cluster=local", "--cluster_options", "timeout_min"))
    with raises("cluster_options", "hours"):
        executor_options(options("--cluster=local", "--cluster_options", "hours=3"))
    monkeypatch.setenv("PATH", "")
    with raises("cluster", "srun"):
        executor_options(options("--cluster=slurm"))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with raises("cluster", "pip install 'dyc[slurm]'"):
        executor_options(options("--cluster=local"))
