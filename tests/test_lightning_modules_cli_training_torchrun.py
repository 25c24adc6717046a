"""``dyc fit`` started by torchrun on two machines, which here are two agents on the loopback interface."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from support import dynamic_network
from support.forked_fits import COMMAND
from support.processes import HANGS
from support.ranks import free_port, together

from lightning_modules.cli.restarts import VARIABLE
from lightning_modules.cli.training import main

FIT = [
    "fit",
    "--name=job",
    f"--import={Path(dynamic_network.__file__)}",
    "--model.model=tiny_dynamic",
    "--model.ema_decay=0.9",
    "--data.batch_size=32",
    "--data.val_fraction=0.1",
    "--trainer.max_epochs=8",
    "--trainer.limit_train_batches=15",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--trainer.callbacks+=lightning_modules.TemperatureAnnealing",
    "--wandb=offline",
    "--wandb_media=false",
]


def start_agent(fits, folder, log, *argv, **environment):
    """Start torchrun in a folder."""
    with (folder / log).open("w") as file:
        options = {"cwd": folder, "env": {**os.environ, **fits.environment, **environment}, "start_new_session": True}
        return subprocess.Popen([*COMMAND, "torchrun", *argv], **options, stdout=file, stderr=file)


def start_agents(fits, folder):
    """Start an agent for each of two machines."""
    argv = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=0", "--rdzv-backend=c10d"]
    argv += [f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--local-addr=127.0.0.1", COMMAND[1]]
    argv += [*FIT, "--trainer.num_nodes=2", "--trainer.devices=1", "--ckpt_path=auto", "--checkpoint_every=4"]
    return [start_agent(fits, folder, f"agent{node}.log", *argv) for node in range(2)]


def wait_until(condition, *logs):
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, "\n".join(log.read_text()[-3000:] for log in logs)
        time.sleep(0.02)


def kill_worker(fits, agent):
    """Kill the last process that an agent started."""
    fork = fits.fork_of(agent.pid)
    workers = Path(f"/proc/{fork}/task/{fork}/children").read_text().split()
    os.kill(fits.fork_of(workers[-1]), signal.SIGKILL)


def end(agents):
    for agent in agents:
        agent.terminate()  # which ends its workers, too
        agent.wait()


@pytest.mark.exhaustive  # eight processes
def test_two_machines_train_one_run_and_go_on_when_a_process_is_killed(tmp_path, monkeypatch, fits):
    runs, files = tmp_path / "runs/job", [tmp_path / f"agent{node}.log" for node in range(2)]
    agents = start_agents(fits, tmp_path)
    try:
        begun = [runs / "version_0/checkpoints/last.ckpt", runs / "version_0/metrics.csv"]
        wait_until(lambda: all(map(Path.exists, begun)) or any(agent.poll() is not None for agent in agents), *files)
        kill_worker(fits, agents[1])
        wait_until(lambda: all(agent.poll() is not None for agent in agents), *files)
        assert all(agent.returncode for agent in agents)
        agents = start_agents(fits, tmp_path)  # as a queue does
        wait_until(lambda: all(agent.poll() is not None for agent in agents), *files)
    finally:
        end(agents)
    logs = [file.read_text() for file in files]
    assert [agent.returncode for agent in agents] == [0, 0], logs[0][-3000:] + logs[1][-3000:]

    # One run, and one more that went on with it: the second machine wrote nothing of its own.
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]
    for version in runs.iterdir():
        assert len(list((version / "wandb").glob("offline-run-*"))) == 1
        assert (version / "metrics.csv").is_file()
    assert (runs / "version_1/test.csv").is_file()
    (first,) = (log for log in logs if "epoch 8/8" in log)
    assert "resuming from runs/job/version_0/checkpoints/last.ckpt" in first

    monkeypatch.chdir(tmp_path)
    together(lambda rank: main([*FIT, "--runs=undisturbed", "--trainer.devices=2"]))
    last, want = (
        torch.load(tmp_path / path, weights_only=True)["state_dict"]
        for path in (runs / "version_1/checkpoints/last.ckpt", "undisturbed/job/version_0/checkpoints/last.ckpt")
    )
    for name, value in want.items():
        assert torch.equal(last[name], value), name


@pytest.mark.exhaustive  # five processes
def test_torchrun_goes_on_itself_when_a_process_is_killed(tmp_path, fits):
    argv = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", COMMAND[1], *FIT]
    argv += ["--trainer.devices=2", "--ckpt_path=auto", "--checkpoint_every=4"]
    log, first = tmp_path / "log", tmp_path / "runs/job/version_0/checkpoints/last.ckpt"
    agent = start_agent(fits, tmp_path, "log", *argv, **{VARIABLE: "1"})
    try:
        wait_until(lambda: first.exists() or agent.poll() is not None, log)
        kill_worker(fits, agent)
        wait_until(lambda: agent.poll() is not None, log)
    finally:
        end([agent])
    said = log.read_text()
    assert agent.returncode == 0, said[-3000:]
    assert "resuming from runs/job/version_0/checkpoints/last.ckpt" in said
    assert (tmp_path / "runs/job/version_1/test.csv").is_file()
