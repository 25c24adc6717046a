"""Several trainings: at once, failing, stopped, going on, and followed; their processes are fakes."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console
from support.fake_training import FakeTraining, write_checkpoint

from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.execute import Execution
from lightning_modules.cli.jobs.progress import Lines, Watch, duration
from lightning_modules.cli.jobs.training import State


@pytest.fixture
def training(tmp_path):
    def make(name: str, epochs: int = 2, **options) -> FakeTraining:
        return FakeTraining(name, (f"--trainer.max_epochs={epochs}",), tmp_path, **options)

    write_checkpoint(tmp_path / "checkpoint", 1)
    return make


def kinds(outcomes):
    return {each.training.name: each.kind for each in outcomes}


def test_one_that_fails_stops_no_other(training, capsys):
    ended = []
    found = Execution([training(name) for name in ("slow", "fail", "bad", "b")], 2, ended.append).run()
    assert kinds(found) == {"slow": "finished", "fail": "failed", "bad": "failed", "b": "finished"}
    assert {each.name for each in ended} == {"slow", "b"}
    shown = capsys.readouterr().err
    error = "fail: failed: ended with exit status 2; its output: {}\n    dyc fit: error: data.root: got nothing\n"
    assert error.format(training("fail").log) in shown
    assert "    RuntimeError: a fault of the program\n" in shown
    assert "slow: epoch 2/2, val top-1 50.00%, 101 images/s" in shown
    assert "b: finished: test top-1 75.00% in" in shown


def test_cores_are_divided_and_gpus_taken_in_turn(training, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    pair = [training("a"), training("b")]
    Execution(pair, 2).run()
    assert [each.log.read_text().split("\n")[0] for each in pair] == [f"kind new threads 4 gpu {n}" for n in (3, 5)]
    assert history.read(pair[0])["parts"][0]["hardware"].endswith(", 4 of 8 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    Execution([training("c"), training("d")], 2).run()
    assert training("d").log.read_text().startswith("kind new threads 3 ")
    monkeypatch.delenv("OMP_NUM_THREADS")
    Execution([training("e")], 2).run()
    assert training("e").log.read_text().startswith("kind new threads None gpu 3")  # one at a time has all cores


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_lets_every_training_save_and_the_same_goes_on(training, number, capsys):
    pair = [training("wait/a"), training("wait/b"), training("never")]

    def send():
        while not all(list(each.folder.glob("version_0/metrics.csv")) for each in pair[:2]):
            time.sleep(0.02)
        time.sleep(0.1)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=send).start()
    execution = Execution(pair, 2)
    assert kinds(execution.run()) == {"wait/a": "stopped", "wait/b": "stopped"}
    assert execution.stopped_by == number
    assert signal.getsignal(number) is before
    assert "wait/a: stopped: 1 of 2 epochs done" in capsys.readouterr().err
    assert pair[0].state() == State("interrupted", 1)
    assert set(kinds(Execution(pair, 2).run()).values()) == {"finished"}
    assert "kind interrupted" in pair[0].log.read_text()
    assert "wait/a: started, from epoch 1 of 2" in capsys.readouterr().err
    assert sorted(pair[0].logged()) == [1, 2]
    parts = history.read(pair[0])["parts"]
    assert history.seconds(pair[0]) == pytest.approx(sum(part["ended"] - part["began"] for part in parts))


def test_the_second_signal_ends_processes_at_once(training, monkeypatch):
    execution = Execution([training("wait")])
    execution.signals = 2
    execution.stopped_by = signal.SIGINT
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    monkeypatch.setattr(execution, "running", [type("", (), {"process": process})()])
    execution._hand_on_signals()
    assert process.wait() == -signal.SIGKILL


def test_a_training_is_not_begun_twice_while_its_process_lives(training):
    one = training("a")
    lock = history.lock(one)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], pass_fds=[lock.fileno()])
    lock.close()  # as where the parent was killed
    try:
        assert history.is_locked(one)
        assert kinds(Execution([one]).run()) == {"a": "elsewhere"}
    finally:
        child.kill()
        child.wait()
    assert not history.is_locked(one)
    assert kinds(Execution([one]).run()) == {"a": "finished"}


def test_states(training, raises):
    one = training("a")
    assert one.state() == State("new")
    last = one.folder / "version_0/checkpoints/last.ckpt"
    write_checkpoint(last, 1)
    assert one.state() == State("interrupted", 1)
    assert one.command.__func__ is not type(one).__mro__[1].command
    write_checkpoint(last, 2)
    assert one.state() == State("untested", 2)
    (last.parents[1] / "config.yaml").write_text("trainer: {max_epochs: 2}")
    row = "2026-01-01,test,digits,360,32,runs/a/version_0/checkpoints/last.ckpt,2,0.5,0.9,1.25\n"
    titles = "time,split,data,images,image_size,checkpoint,epoch,top1,top5,loss\n"
    (last.parents[1] / "evaluations.csv").write_text(titles + row.replace(",test,", ",val,"))
    assert one.state().kind == "untested"
    (last.parents[1] / "evaluations.csv").write_text(titles + row)
    assert one.state() == State("finished", 2)
    assert one.test_figures()["test/top1"] == 0.5
    assert training("a", epochs=3).state() == State("interrupted", 2)
    last.write_bytes(last.read_bytes()[:100])
    with raises("ckpt_path", "truncated or damaged", "whole checkpoint"):
        training("a", epochs=3).state()
    assert kinds(Execution([training("a", epochs=3)]).run()) == {"a": "failed"}


def test_damaged_files_of_a_run_are_told_or_made_again(training, raises):
    one = training("a")
    Execution([one]).run()
    part = one.folder / "version_0"
    write_checkpoint(part / "checkpoints/last.ckpt", 2)
    for damaged in ("network,test/loss,test/top1\nlast epoch,1.0,x\n", "network,test/top1\nlast epoch,0.7"):
        (part / "test.csv").write_text(damaged)
        assert one.state() == State("untested", 2)
    for damaged in ("{", "[]", "\0"):
        (one.folder / history.FILE).write_text(damaged)
        with raises("runs", "job.json is damaged"):
            history.read(one)
        assert kinds(Execution([one, training("b")]).run()) == {"a": "failed", "b": "finished"}
    assert not history.is_locked(one)


def test_a_folder_that_cannot_be_written_fails_its_training_alone(training, tmp_path):
    found = Execution([training("checkpoint/a"), training("b")]).run()
    assert kinds(found) == {"checkpoint/a": "failed", "b": "finished"}
    assert "cannot be written" in found[0].message


def test_what_is_half_written_of_the_metrics_is_not_read(training):
    one = training("a")
    Execution([one]).run()
    path = one.folder / "version_0/metrics.csv"
    whole = path.read_text()
    for end in ("1,2", "1,2.0,0.", "1,2.0e"):
        path.write_text(whole[: whole.index("1,2.0")] + end)
        assert one.logged() == {1: {"train/loss": 2.0, "val/top1": 0.25, "train/images_per_second": 100.0}}


def test_whether_it_runs_is_told_without_writing(training, monkeypatch):
    one = training("a")
    with history.lock(one):
        assert history.is_locked(one)
        monkeypatch.setattr(history, "lock", None)
        assert history.is_locked(one)
    assert not history.is_locked(one)
    assert not history.is_locked(training("b"))
    assert not training("b").folder.exists()


def test_one_that_begins_anew_tells_its_own_epochs_when_it_is_stopped(training):
    old = training("wait/a").folder / "version_0"
    old.mkdir(parents=True)
    (old / "metrics.csv").write_text("epoch,train/loss\n0,1.0\n1,1.0\n")
    watch = Watch(training("wait/a", resume=False))
    assert watch.progress() == "0 of 2 epochs done"
    assert Watch(training("wait/a")).progress() == "2 of 2 epochs done"


def test_one_that_is_not_to_go_on_begins_anew(training):
    Execution([training("a")]).run()
    Execution([training("a")]).run()
    assert [path.name for path in training("a").versions()] == ["version_0"]
    Execution([training("a", resume=False)]).run()
    assert [path.name for path in training("a").versions()] == ["version_0", "version_1"]


def test_on_a_terminal_a_line_for_each_and_the_time_of_all(training, monkeypatch):
    shown = io.StringIO()
    lines = Lines()
    lines.console = Console(file=shown, force_terminal=True, width=100, highlight=False)
    write_checkpoint(training("a").folder / "version_0/checkpoints/last.ckpt", 1)
    Execution([training("a", epochs=4), training("b", epochs=4)], 2, show=lines).run()
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", shown.getvalue())
    assert re.search("a: epoch [0-4]/4", text)
    assert "0 of 2 done, 2 running" in text
    assert "b: finished: test top-1 75.00%" in text


def test_time_that_is_left(training, monkeypatch):
    watch = Watch(training("a", epochs=10))
    assert watch.seconds_left() is None
    watch.began, watch.changed, watch.epoch = 0.0, 100.0, 2
    monkeypatch.setattr(time, "monotonic", lambda: 110.0)
    assert watch.seconds_left() == 50.0 * 8 - 10.0
    assert watch.line() == "epoch 2/10, 6.5 min left"
    watch.timed_from = (2, 100.0)
    assert watch.seconds_per_epoch == 50.0
    lines = Lines()
    lines.jobs = 2
    left = lines._left([watch], [training("b", epochs=10)])
    assert left == f"about {duration((390 + 500) / 2)} left"
    watch.epoch, watch.changed = 4, 106.0  # how long it took to start no longer counts
    assert watch.seconds_per_epoch == 3.0


def test_how_a_training_begins_is_told(training, capsys):
    for goes_on, first in ((False, 0), (True, 0), (True, 2)):
        watch = Watch(training("a", epochs=10), goes_on)
        watch.first = first
        Lines().started(watch)
    told = ["a: started", "a: started, from a checkpoint in its first epoch", "a: started, from epoch 2 of 10"]
    assert capsys.readouterr().err.splitlines() == told
