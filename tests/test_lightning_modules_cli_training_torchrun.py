"""``dyc fit`` started by torchrun on two machines, which here are two agents on the loopback interface."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import dynamic_network
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


def start_agents(folder):
    """Start an agent for each of two machines."""
    dyc = str(Path(sys.executable).parent / "dyc")
    argv = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=0"]
    argv += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--local-addr=127.0.0.1", "--no-python"]
    argv += [dyc, *FIT, "--trainer.num_nodes=2", "--trainer.devices=1", "--ckpt_path=auto", "--checkpoint_every=4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    agents = []
    for node in range(2):
        with (folder / f"agent{node}.log").open("w") as log:
            options = {"cwd": folder, "env": environment, "stdout": log, "stderr": log}
            agents.append(subprocess.Popen(argv, **options, start_new_session=True))
    return agents


def wait_until(condition, folder):
    deadline = time.monotonic() + HANGS
    while not condition():
        logs = "\n".join((folder / f"agent{node}.log").read_text()[-3000:] for node in range(2))
        assert time.monotonic() < deadline, logs
        time.sleep(0.02)


def workers(agent):
    """Return the processes that an agent started."""
    return [int(pid) for pid in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()]


@pytest.mark.exhaustive  # six processes that import everything anew
def test_two_machines_train_one_run_and_go_on_when_a_process_is_killed(tmp_path, monkeypatch):
    runs = tmp_path / "runs/job"
    agents = start_agents(tmp_path)
    try:
        first = runs / "version_0/checkpoints/last.ckpt"
        wait_until(lambda: first.exists() or any(agent.poll() is not None for agent in agents), tmp_path)
        (victim,) = workers(agents[1])
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: all(agent.poll() is not None for agent in agents), tmp_path)
        assert all(agent.returncode for agent in agents)
        agents = start_agents(tmp_path)  # as a queue does
        wait_until(lambda: all(agent.poll() is not None for agent in agents), tmp_path)
    finally:
        for agent in agents:
            for pid in workers(agent) if agent.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
            agent.kill()
            agent.wait()
    logs = [(tmp_path / f"agent{node}.log").read_text() for node in range(2)]
    assert [agent.returncode for agent in agents] == [0, 0], logs[0][-3000:] + logs[1][-3000:]

    # One run, and one more that went on with it: the second machine wrote nothing of its own.
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]
    for version in runs.iterdir():
        assert len(list((version / "wandb").glob("offline-run-*"))) == 1
        assert (version / "metrics.csv").is_file()
    assert (runs / "version_1/test.csv").is_file()
    assert "resuming from runs/job/version_0/checkpoints/last.ckpt" in logs[0]
    assert "epoch 8/8" in logs[0]
    assert "epoch 8/8" not in logs[1]

    monkeypatch.chdir(tmp_path)
    together(lambda rank: main([*FIT, "--runs=undisturbed", "--trainer.devices=2"]))
    last, want = (
        torch.load(tmp_path / path, weights_only=True)["state_dict"]
        for path in (runs / "version_1/checkpoints/last.ckpt", "undisturbed/job/version_0/checkpoints/last.ckpt")
    )
    for name, value in want.items():
        assert torch.equal(last[name], value), name


@pytest.mark.exhaustive  # four processes that import everything anew
def test_torchrun_goes_on_itself_when_a_process_is_killed(tmp_path):
    dyc = str(Path(sys.executable).parent / "dyc")
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    argv += ["--no-python", dyc, *FIT, "--trainer.devices=2", "--ckpt_path=auto", "--checkpoint_every=4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", VARIABLE: "1"}
    log, first = tmp_path / "log", tmp_path / "runs/job/version_0/checkpoints/last.ckpt"

    def wait_until(condition):
        deadline = time.monotonic() + HANGS
        while not condition():
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.02)

    with log.open("w") as file:
        options = {"cwd": tmp_path, "env": environment, "stdout": file, "stderr": file}
        agent = subprocess.Popen(argv, **options, start_new_session=True)
    try:
        wait_until(lambda: first.exists() or agent.poll() is not None)
        os.kill(workers(agent)[1], signal.SIGKILL)
        wait_until(lambda: agent.poll() is not None)
    finally:
        for pid in workers(agent) if agent.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        agent.kill()
        agent.wait()
    said = log.read_text()
    assert agent.returncode == 0, said[-3000:]
    assert "resuming from runs/job/version_0/checkpoints/last.ckpt" in said
    assert (tmp_path / "runs/job/version_1/test.csv").is_file()
