"""What a training says that torchrun has started again."""

import pytest

from lightning_modules.cli.restarts import VARIABLE, note_restart

RESTARTED = {"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "0"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, True),
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, False),
        ({"TORCHELASTIC_USE_AGENT_STORE": "False"}, False),
        ({"RANK": "1"}, False),
    ],
)
def test_it_names_the_variable_that_helps(monkeypatch, capsys, changed, says):
    for name, value in (RESTARTED | changed).items():
        monkeypatch.setenv(name, value)
    note_restart()
    assert (f"set {VARIABLE}=1 for it" in capsys.readouterr().err) == says


def test_without_torchrun_it_says_nothing(monkeypatch, capsys):
    for name in RESTARTED:
        monkeypatch.delenv(name, raising=False)
    note_restart()
    assert capsys.readouterr().err == ""
