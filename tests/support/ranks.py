"""Processes that train together: forks of the test's own process, which have imported everything already."""

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

import pytest
import torch
from support.processes import HANGS

NO_FORK = "Autograd-and-Fork"
"""PyTorch's word for a process that can fork no more, as an earlier test has started autograd's threads in it."""


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return what ``torchrun`` tells a process of one machine."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    return {name: str(value) for name, value in (numbers | place).items()}


def together(work: Callable[[int], Any], ranks: int = 2) -> list[Any]:
    """Call ``work(rank)`` in as many processes as there are ranks, and return what each of them returned.

    Values are pickled. Whatever is raised in one of them ends all. Where this process can fork no more, the test runs
    in one of its own.
    """
    context, port, pipes, children = multiprocessing.get_context("fork"), free_port(), [], []
    for rank in range(ranks):
        end, other = context.Pipe(duplex=False)
        children.append(context.Process(target=_child, args=(work, rank, environment(rank, ranks, port), other)))
        children[-1].start()
        other.close()
        pipes.append(end)
    try:
        results: dict[int, Any] = {}
        while len(results) < ranks:
            ready = wait([pipe for rank, pipe in enumerate(pipes) if rank not in results], HANGS)
            assert ready, "the processes hang"
            for pipe in ready:
                rank = pipes.index(pipe)
                try:
                    error, results[rank] = pickle.loads(pipe.recv_bytes())
                except EOFError:
                    error = f"rank {rank} died"
                if error and NO_FORK in error:
                    _run_alone()
                assert error is None, error
        return [results[rank] for rank in range(ranks)]
    finally:
        for child in children:
            child.kill()
            child.join()


def _run_alone() -> None:
    """Run the current test in a process of its own, where nothing came before it, and skip it here if it passes."""
    test, _ = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "", test]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stdout
    pytest.skip("passed in a process of its own")


def _child(work: Callable[[int], Any], rank: int, told: dict[str, str], pipe: Any) -> None:
    os.environ.update(told)
    if "lightning" in sys.modules:  # which reads its rank from the environment when it is imported
        from lightning.fabric.utilities.rank_zero import rank_zero_only

        rank_zero_only.rank = rank
    torch.set_num_threads(1)  # the parent's threads are not there after a fork
    signal.alarm(int(HANGS))  # also where nobody is left to end it
    try:
        result = None, work(rank)
    except BaseException:
        result = f"rank {rank}:\n{traceback.format_exc()}", None
    pipe.send_bytes(pickle.dumps(result))  # whole: tensors sent by multiprocessing are gone with the process
