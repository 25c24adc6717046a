"""ChannelRewiring among two processes: the first one decides.

Run as a program, it is one of the processes that train together.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from support.processes import run
from support.selective_training import GAMMA, fit

from lightning_modules import ChannelRewiring, ImageClassifier, OptimizerSettings
from lightning_modules.callbacks import rewiring


@pytest.mark.exhaustive  # processes that import everything anew
def test_two_processes_end_with_the_network_that_the_first_decided(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path)]
    done = run(command, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    assert first["net"].keys() == second["net"].keys()
    for name, value in first["net"].items():
        # Running statistics are those of each process's own images until the next step.
        assert "running_" in name or torch.equal(value, second["net"][name]), name
    for one, other in zip(first["momentum"], second["momentum"]):
        assert torch.equal(one, other)
    assert len(first["plans"]) == 3
    assert second["plans"] == []
    drawn = 0
    for layer in ("a", "c"):
        pointers = torch.full_like(first["net"][f"{layer}.pointers"], -1)
        for plan in first["plans"]:
            closed, new = plan[layer]
            pointers[closed] = -1
            pointers[new.slots] = new.pointers
            drawn += len(new.slots)
        for state in (first, second):
            assert torch.equal(state["net"][f"{layer}.pointers"], pointers)
    assert drawn > 0


def train_with_others(folder):
    """Train in two processes, this one and a copy that Lightning starts, and save what each ends with."""
    torch.manual_seed(0)
    plans = []
    decide = rewiring.plan_rewiring
    rewiring.plan_rewiring = lambda *args, **kwargs: plans.append(decide(*args, **kwargs)) or plans[-1]
    settings = OptimizerSettings(lr=0.05)
    classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1}, optimizer=settings)
    callback = ChannelRewiring(gamma=GAMMA, until=1.0, seed=int(os.environ.get("LOCAL_RANK", 0)))
    _, trainer = fit(callback, classifier=classifier, devices=2, strategy="ddp")
    state = trainer.optimizers[0].state.values()
    found = {"net": classifier.net.state_dict(), "momentum": [s["momentum_buffer"] for s in state], "plans": plans}
    torch.save(found, folder / f"{trainer.global_rank}.pt")


if __name__ == "__main__":
    train_with_others(Path(sys.argv[1]))
