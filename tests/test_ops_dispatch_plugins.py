"""Backends of other distributions, found through the entry-point group ``dyc.ops_backends``."""

import hashlib
import os
import re
import sys
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from support.processes import run

import ops

ROOT = Path(__file__).parents[1]

PLUGIN = """
from ops import Backend, Implementation, depthwise_conv2d

def run(x, weight, window):
    return -depthwise_conv2d(x, weight, **window._asdict(), backend="eager")

OPERATORS = {"depthwise_conv2d": Implementation(run)}
NEGATED = Backend("negated", OPERATORS, summary="the opposite")
TAKEN = Backend("eager", OPERATORS)
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


@pytest.mark.usefixtures("backend_registry")
def test_an_installed_backend_is_listed_and_runs(distribution, monkeypatch):
    monkeypatch.syspath_prepend(distribution(negated="negated_plugin:NEGATED"))
    ops.dispatch.plugins.load_entry_points()
    status = ops.backends()[-1]
    assert (status.name, status.available, status.summary) == ("negated", True, "the opposite")
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)
    y = ops.depthwise_conv2d(x, weight, backend="negated")
    torch.testing.assert_close(y, -ops.depthwise_conv2d(x, weight, backend="eager"))


VISITOR = """
import ops

def run(x, weight, window):
    return ops.depthwise_conv2d(x, weight, **window._asdict(), backend="eager")

BACKEND = ops.Backend("visitor", {"depthwise_conv2d": ops.Implementation(run)}, summary="from a wheel")
"""


def write_wheel(folder: Path) -> Path:
    """Write the wheel of a distribution with one module, whose backend is announced by an entry point."""
    info = "dyc_visitor-1.0.dist-info"
    files = {
        "dyc_visitor.py": VISITOR,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: dyc-visitor\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[dyc.ops_backends]\nvisitor = dyc_visitor:BACKEND\n",
    }
    digests = {name: urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    record = [f"{name},sha256={digests[name].decode().rstrip('=')},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / "dyc_visitor-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def visited(tmp_path):
    """Install the wheel by pip into an empty folder; return what runs Python with it."""
    if not list(distributions(name="pip")):  # importing it here would turn setuptools away from its own distutils
        pytest.skip("got no pip")
    site = tmp_path / "site"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def python(*arguments: str) -> str:
        done = run([sys.executable, *arguments], env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    options = ("--no-index", "--no-deps", "--disable-pip-version-check", "--target", str(site))
    python("-m", "pip", "install", *options, str(write_wheel(tmp_path)))
    return python


@pytest.mark.exhaustive  # pip, and a pytest of its own
def test_a_backend_from_a_wheel_is_found_and_passes_every_case(visited):
    """Importing ops finds it: the cases run with the backends that are listed then."""
    options = ("-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider", "-k", "visitor")
    said = visited("-m", "pytest", *options, str(ROOT / "tests" / "test_ops_backends.py")).splitlines()[-1]
    assert not re.search("failed|error|skipped", said)
    assert int(re.search(r"(\d+) passed", said)[1]) > 90


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
        ops.dispatch.plugins.load_entry_points()
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
    with pytest.warns(UserWarning, match="'eager' is taken"):
        ops.dispatch.plugins.load_entry_points()
    assert ops.backends() == before
