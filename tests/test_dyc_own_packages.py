"""Somebody else's ``ops`` in the place of ours is told in one line: whose it is, where, and what to do."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.processes import run

from dyc.own_packages import HOME, OFFERS, check_packages, foreign_package

ROOT = Path(__file__).parents[1]


@pytest.fixture
def shadowed(tmp_path, monkeypatch):
    """A folder that comes first on the path of a process that has not imported ``ops``."""
    monkeypatch.delitem(sys.modules, "ops")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", OFFERS)
def test_our_own_are_recognized(name):
    assert HOME == ROOT
    assert foreign_package(name) is None
    check_packages(name)


@pytest.mark.parametrize(
    ("file", "found"), [("ops/__init__.py", "ops"), ("ops.py", "ops.py"), ("ops/train.py", "ops (a folder without")]
)
def test_a_users_own_is_named(shadowed, monkeypatch, file, found):
    if found.endswith("without"):  # without an __init__.py it counts only where no other package is on the path
        monkeypatch.setattr(sys, "path", [str(shadowed)])
    (shadowed / file).parent.mkdir(exist_ok=True)
    (shadowed / file).write_text("raise SystemExit('was imported')")
    line = foreign_package("ops")
    assert line.startswith(f"ops: got {shadowed / found}")
    assert f"in {ROOT}; rename yours" in line
    assert f"({shadowed} is in sys.path)" in line
    assert "\n" not in line
    with pytest.raises(ImportError, match="rename yours") as raised:
        check_packages("ops")
    assert raised.value.name == "ops"


def test_what_was_imported_already_counts(monkeypatch):
    monkeypatch.setitem(sys.modules, "ops", ModuleType("ops"))
    assert foreign_package("ops").startswith("ops: got <module 'ops'> in sys.modules; need the package in ")


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "ops")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])
    assert "install dyc anew" in foreign_package("ops")


def test_a_distribution_that_was_installed_over_ours(shadowed):
    (shadowed / "ops").mkdir()
    (shadowed / "ops" / "__init__.py").write_text("'''The operator framework.'''")
    (shadowed / "charms-1.0.dist-info").mkdir()
    (shadowed / "charms-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: charms\nVersion: 1.0\n")
    (shadowed / "charms-1.0.dist-info" / "top_level.txt").write_text("ops\n")
    line = foreign_package("ops", shadowed)
    assert "the package of" in line
    assert "charms" in line
    assert "install each into an environment of its own" in line


def test_the_import_of_dyc_says_it(tmp_path):
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "__init__.py").touch()
    code = "import sys\ntry: import dyc\nexcept ImportError as error: print(error)\nprint('torch' in sys.modules)"
    done = run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    line, torch_was_loaded = done.stdout.splitlines()
    assert line.startswith(f"ops: got {tmp_path / 'ops'}, which Python found before")
    assert torch_was_loaded == "False"
