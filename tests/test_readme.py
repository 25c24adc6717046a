"""The README tells the truth: its Python runs, its commands parse, and its first line reaches its accuracy."""

import csv
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from support.processes import run

from lightning_modules.cli import compact, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [text.replace("\\\n", " ") for kind, text in BLOCKS if not kind]
COMMANDS = [line for text in SHELL for line in text.splitlines() if line.startswith("dyc ")]


def test_python_runs_in_the_order_in_which_it_is_read():
    scope = {
        "x": torch.randn(2, 64, 8, 8),
        "bank": torch.randn(4, 64, 1, 3, 3),
        "attention": torch.rand(2, 4),
        "bias": torch.randn(4, 64),
        "kernels": torch.randn(2, 64, 3, 3),
        "own_kernels": torch.randn(2, 16, 64, 3, 3),
    }
    assert len(PYTHON) == 4
    for text in PYTHON:
        exec(compile(text, "README.md", "exec"), scope)
    assert scope["model"](torch.randn(1, 3, 64, 64)).shape == (1, 1000)
    assert scope["small"](torch.randn(1, 3, 64, 64)).shape == (1, 1000)
    assert scope["y"].shape == (2, 64, 6 + 2, 8)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    argv = shlex.split(command)[1:]
    if argv[0] == "compact":  # has no settings to print
        assert compact.parser().parse_args(argv[1:]).name == "select_densenet40"
        return
    if "--ckpt_path" in argv:  # needs the run of the first line; parsing is what is tested here
        at = argv.index("--ckpt_path")
        del argv[at : at + 2]
    with pytest.raises(SystemExit) as stop:
        main([*argv, "--print_config"])
    assert stop.value.code == 0
    assert "model:" in capsys.readouterr().out


def test_nothing_is_left_to_be_filled_in():
    assert re.findall(r"^\s*[A-Z][A-Z0-9_]{3,}\s*$", README, re.M) == []


def test_counts_of_the_table(capsys):
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", README, re.M)
    assert len(rows) == 14
    for name, parameters in rows:
        assert main(["models", name, "--csv"]) == 0
        row = next(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert row["parameters"] == parameters.replace(",", "")


def test_first_line_trains_to_97_percent(tmp_path):
    line = README.split("```\n", 2)[1]
    assert "pip install -e . && dyc fit --config experiments/quickstart.yaml" in line
    script = Path(sys.executable).parent / "dyc"
    config = ROOT / "experiments/quickstart.yaml"
    done = run([script, "fit", "--config", config], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    table = {row["network"]: row for row in csv.DictReader((tmp_path / "runs/quickstart/version_0/test.csv").open())}
    assert float(table["last epoch"]["test/top1"]) >= 0.97
    for words in ("last checkpoint:", "CSV log:", "W&B files:", "try next:"):
        assert words in done.stdout
