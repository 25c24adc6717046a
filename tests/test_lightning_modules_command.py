"""What the console script does before PyTorch is loaded."""

import os
import sys
from pathlib import Path

import pytest
from support.processes import run

from lightning_modules import cli, command

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _undecided(monkeypatch):
    for name in command.DECIDED_BY:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)


def test_threads_that_wait_sleep(monkeypatch):
    monkeypatch.setattr(cli, "main", lambda: 5)
    assert command.main() == 5
    assert os.environ["GOMP_SPINCOUNT"] == "1000"


def test_a_program_that_has_loaded_pytorch_gets_and_keeps_no_help_text(monkeypatch, tmp_path):
    monkeypatch.setenv("DYC_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["dyc", "fit", "--help"])
    monkeypatch.setattr(cli, "main", lambda: sys.exit())
    with pytest.raises(SystemExit):
        command.main()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delitem(sys.modules, "torch")  # as in a process of the command's own
    with pytest.raises(SystemExit):
        command.main()
    assert [path.name for path in tmp_path.iterdir()] == ["help"]


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "7")])
def test_what_the_user_set_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    command.set_threads()
    assert {key: os.environ.get(key) for key in command.DECIDED_BY if key in os.environ} == {name: value}


@pytest.mark.parametrize(("name", "kept"), [("fit", 1), ("analyze", 1), ("models", 0)])
def test_commands_that_repeat_a_step_keep_freed_memory(monkeypatch, name, kept):
    calls = []
    monkeypatch.setattr(command, "keep_freed_memory", lambda: calls.append(name))
    monkeypatch.setattr(sys, "argv", ["dyc", name])
    monkeypatch.setattr(cli, "main", lambda: 0)
    assert command.main() == 0
    assert len(calls) == kept


def test_somebody_elses_ops_is_one_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "ops.py").touch()
    monkeypatch.delitem(sys.modules, "ops")
    monkeypatch.syspath_prepend(tmp_path)
    assert command.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dyc: error: ops: got {tmp_path / 'ops.py'}, which Python found before")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["run"], ["compare", "a"], ["report"]], ids=lambda words: words[0])
def test_a_users_folder_named_experiments_is_one_line(monkeypatch, tmp_path, capsys, words):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["dyc", *words])
    assert command.main() == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dyc: error: experiments: got {tmp_path / 'experiments'}")
    assert said.count("\n") == 1


def test_the_environment_is_set_before_torch_is_loaded():
    assert "dyc = lightning_modules.command:main" in (ROOT / "setup.cfg").read_text()
    code = (
        "import os, sys\n"
        "from lightning_modules.command import main\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': sys.exit(os.environ.get('GOMP_SPINCOUNT', 'unset'))\n"
        "assert 'torch' not in sys.modules\n"
        "sys.meta_path.insert(0, Watch())\n"
        "sys.argv = ['dyc', 'models', 'densenet40']\n"
        "main()\n"
    )
    env = {key: value for key, value in os.environ.items() if key not in command.DECIDED_BY}
    done = run([sys.executable, "-c", code], env={**env, "PYTHONPATH": str(ROOT)})
    assert (done.stdout, done.stderr) == ("", "1000\n")
