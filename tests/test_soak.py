"""Long runs: memory, open files and threads stay what they were, and caches are bounded.

``DYC_SOAK=10000 pytest tests/test_soak.py -s`` takes as many steps, a tenth as many predictions, and prints figures.
"""

import gc
import os
from pathlib import Path

import pytest
import torch
from torch import nn

import dyc
import ops
from ops import attended
from ops.dispatch import selection

STEPS = int(os.environ.get("DYC_SOAK", "120"))
PAGE = os.sysconf("SC_PAGE_SIZE")

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="got no /proc; need Linux")


def usage() -> dict[str, int]:
    """Return the resident memory in bytes, and the numbers of open files, threads and living tensors."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    return {
        "resident": resident,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "tensors": tensors,
    }


def hold(before: dict[str, int], what: str) -> None:
    """Hold what the process uses now to what it used."""
    after = usage()
    growth = after["resident"] / before["resident"] - 1
    print(f"{what}: {before} -> {after}, memory {growth:+.2%}")
    assert growth < 0.01
    assert {n: after[n] for n in ("files", "threads", "tensors")} == {
        n: before[n] for n in ("files", "threads", "tensors")
    }


def network() -> nn.Module:
    """Make a network of every kind of layer that keeps something from call to call."""
    backend = {"backend": "cpp"} if "cpp" in {s.name for s in ops.backends() if s.available} else {}
    return nn.Sequential(
        dyc.SelectiveConv2d(8, 12, 1),
        dyc.DynamicConv2d(12, 12, 3, padding=1, groups=12, bias=False, attention="dyc", **backend),
        nn.BatchNorm2d(12),
        dyc.DynamicConv2d(12, 12, 5, stride=2, padding=2, groups=12, attention="dy", **backend),
        dyc.SelectiveConv2d(12, 12, 3, padding=1),
        dyc.DynamicConv2d(12, 8, 1, attention="odconv"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).to(memory_format=torch.channels_last)


def test_training_keeps_nothing():
    model, generator = network().train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    closed, before = 0, {}
    for step in range(STEPS):
        dyc.set_temperature(model, max(1.0, 30.0 - 30.0 * step / STEPS))
        x = torch.randn(4, 8, 9, 9).contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(model(x), x.mean((2, 3)).argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 24:
            with torch.no_grad():
                for layer in (model[0], model[4]):
                    layer.conv.weight[:, step // 25 % layer.in_channels] = 0
            done = dyc.rewire(model, 1e-3, 2, generator=generator, optimizer=optimizer)
            closed += sum(int(rewiring.closed.sum()) for rewiring in done.values())
        if step == STEPS // 3:
            before = usage()
    assert loss.isfinite()
    assert closed > 0
    hold(before, f"{STEPS} steps")


def test_predictions_of_changing_sizes_fill_no_cache(monkeypatch):
    monkeypatch.setattr(attended, "_MOST_PLANS", 40)
    monkeypatch.setattr(selection, "_MOST_CHOICES", 40)
    model, before, most = network().eval(), {}, 0
    count = max(90, STEPS // 10)
    # Without oneDNN, which keeps convolutions of its own for the last thousand sizes.
    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False):
        for i in range(count):
            size = 5 + i % 23, 5 + i % 19
            x = torch.randn(1 + i % 7, 8, *size).contiguous(memory_format=torch.channels_last)
            y = model(x)
            assert y.shape == (len(x), 8)
            most = max(most, len(attended._PLANS), len(selection._CHOICES))
            if i == count // 3:
                before = usage()
    assert 20 < most <= 40
    hold(before, f"{count} predictions")
