"""Somebody else's ``ops`` in the place of ours is told in one line: whose it is, where, and what to do."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.processes import run

from dyc.own_packages import HOME, OFFERS, check_packages, foreign_package, warn_of_others

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


def test_a_package_that_dyc_does_without_is_only_warned_of(shadowed, monkeypatch, recwarn):
    warn_of_others("lightning_modules")
    assert not recwarn
    monkeypatch.delitem(sys.modules, "lightning_modules", raising=False)
    (shadowed / "lightning_modules").mkdir()
    (shadowed / "lightning_modules" / "__init__.py").write_text("raise SystemExit('was imported')")
    with pytest.warns(UserWarning, match=r"^lightning_modules: got .*that comes with dyc, in .*; rename yours"):
        warn_of_others("lightning_modules")
    warn_of_others("lightning_modules", home=shadowed.parent)  # where ours is not installed, none is hidden
    assert not recwarn


def test_the_import_of_dyc_says_it(tmp_path):
    for name in ("ops", "lightning_modules"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    code = "import sys\ntry: import dyc\nexcept ImportError as error: print(error)\nprint('torch' in sys.modules)"
    done = run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    line, torch_was_loaded = done.stdout.splitlines()
    assert line.startswith(f"ops: got {tmp_path / 'ops'}, which Python found before")
    assert torch_was_loaded == "False"
    assert f"UserWarning: lightning_modules: got {tmp_path / 'lightning_modules'}, which Python found" in done.stderr
