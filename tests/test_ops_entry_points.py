"""Backends of other distributions, found through the entry-point group ``dyc.ops_backends``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ops

ROOT = Path(__file__).parents[1]

PLUGIN = """
from ops import Backend, depthwise_conv2d

def run(x, weight, stride, padding, dilation):
    return -depthwise_conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, backend="eager")

NEGATED = Backend("negated", run, summary="the opposite")
TAKEN = Backend("eager", run)
"""


@pytest.fixture
def distribution(tmp_path):
    """Install a distribution into an empty folder, as a wheel would: a module and its metadata."""

    def install(**entries: str) -> Path:
        (tmp_path / "negated_plugin.py").write_text(PLUGIN)
        info = tmp_path / "negated_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: negated-plugin\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[dyc.ops_backends]", *lines, ""]))
        return tmp_path

    yield install
    sys.modules.pop("negated_plugin", None)


def test_an_installed_backend_is_listed_and_runs(distribution):
    site = distribution(negated="negated_plugin:NEGATED")
    program = (
        "import torch, ops; s = ops.backends()[-1]; x, w = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3);"
        "y = ops.depthwise_conv2d(x, w, backend='negated');"
        "print(s.name, s.available, s.summary, torch.equal(y, -ops.depthwise_conv2d(x, w, backend='eager')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "negated True the opposite True"
    assert "failed to load" not in done.stderr


@pytest.mark.usefixtures("backend_registry")
@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("no_such_module:BACKEND", "No module named 'no_such_module'"),
        ("negated_plugin:MISSING", "has no attribute 'MISSING'"),
        ("negated_plugin:run", "need an ops.Backend"),
    ],
    ids=["no_module", "no_attribute", "not_a_backend"],
)
def test_one_that_fails_to_load_is_listed_with_its_reason(distribution, monkeypatch, entry, reason):
    monkeypatch.syspath_prepend(distribution(broken=entry))
    with pytest.warns(UserWarning, match=r"backend 'broken' .* failed to load"):
        ops.registry.load_entry_points()
    status = {status.name: status for status in ops.backends()}["broken"]
    assert not status.available
    assert reason in status.reasons[0]
    assert entry in status.reasons[0]
    with pytest.raises(ops.BackendUnavailable, match="failed to load"):
        ops.depthwise_conv2d(torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3), backend="broken")


@pytest.mark.usefixtures("backend_registry")
def test_one_that_takes_a_built_in_name_changes_nothing(distribution, monkeypatch):
    before = ops.backends()
    monkeypatch.syspath_prepend(distribution(eager="negated_plugin:TAKEN"))
    with pytest.warns(UserWarning, match="a name that is not taken"):
        ops.registry.load_entry_points()
    assert ops.backends() == before
