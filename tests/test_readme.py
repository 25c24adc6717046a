"""The Markdown files tell the truth: their Python runs, their commands parse, what they point to exists."""

import argparse
import csv
import pkgutil
import re
import shlex
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
import torch
from support.processes import run

from lightning_modules.cli import main
from lightning_modules.cli.predict_parser import of_a_data_set

ROOT = Path(__file__).parents[1]
FOLDERS = ("ops", "dyc", "lightning_modules", "experiments", "tests")
FILES = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.S | re.M)
SPAN = re.compile(r"`([^`\n]+)`")

INSIDE = tuple(f"{folder}/" for folder in (*FOLDERS, ".ci"))
TRAINING = ("fit", "validate", "test", "predict")
SOURCES = (".py", ".md", ".yaml", ".cfg", ".toml", ".cff", ".cpp", ".h", ".cu", ".cuh")
TO_WRITE = ("tiny_cifar.py", "report.md")
"""Files that a page tells its reader to write, or that a command of it writes."""

ENTRY_POINT_GROUPS = ("dyc.attentions", "dyc.ops_backends")


def blocks(text: str, kind: str) -> list[str]:
    """Return the code blocks of one language; those of commands name none."""
    return [dedent(code) for _, language, code in BLOCK.findall(text) if language == kind]


def prose(text: str) -> str:
    """Return the text without its code blocks."""
    return BLOCK.sub("", text)


def commands(text: str) -> list[str]:
    """Return the commands of ``dyc`` in blocks and in running text."""
    lines = "\n".join(blocks(text, "")).replace("\\\n", " ").splitlines()
    return [line for line in [*lines, *SPAN.findall(prose(text))] if re.match(r"dyc [a-z]", line)]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def paths(text: str) -> list[str]:
    """Return what stands in backticks and names a file or folder of ours."""
    spans = [span for span in SPAN.findall(prose(text)) if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", span)]
    return [span for span in spans if span.startswith(INSIDE) or (span.endswith(SOURCES) and span not in TO_WRITE)]


EVERY = [(name, path.read_text()) for name, path in zip(NAMES, FILES)]
# The page of the networks registers one, for which it has a test of its own, tests/test_dyc_models_readme.py.
PAGES_THAT_RUN = [name for name, text in EVERY if blocks(text, "python") and name != "dyc/models/README.md"]
COMMAND_LINES = sorted({command for _, text in EVERY for command in commands(text)})


def test_every_page_is_read():
    pages = {"README.md", "CONTRIBUTING.md", "ops/README.md", "dyc/README.md", "dyc/models/README.md"}
    assert pages | {"dyc/selective/README.md", "experiments/README.md"} <= set(NAMES)


def test_the_readme_is_one_page():
    assert len(README.split()) <= 900


@pytest.mark.parametrize(("name", "text"), EVERY, ids=NAMES)
def test_links_lead_somewhere(name, text):
    for link in links(text):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        assert path.resolve().is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(path.read_text()), link


@pytest.mark.parametrize(("name", "text"), EVERY, ids=NAMES)
def test_paths_exist(name, text):
    for path in paths(text):
        assert any(any(base.glob(path)) for base in (ROOT, (ROOT / name).parent)), path


@pytest.mark.parametrize(("name", "text"), EVERY, ids=NAMES)
def test_public_names_exist(name, text):
    for package, rest in re.findall(r"`(ops|dyc|lightning_modules)\.(\w+(?:\.\w+)*)", prose(text)):
        if f"{package}.{rest}" not in ENTRY_POINT_GROUPS:
            assert pkgutil.resolve_name(f"{package}.{rest}") is not None, rest


@pytest.mark.parametrize(("name", "text"), EVERY, ids=NAMES)
def test_nothing_is_left_to_be_filled_in(name, text):
    assert re.findall(r"^\s*[A-Z][A-Z0-9_]{3,}\s*$", text, re.M) == []


@pytest.fixture
def run_python(monkeypatch):
    def run(name: str) -> dict:
        """Run the Python blocks of a page in the order in which they are read, as one module."""
        module = ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        for code in blocks((ROOT / name).read_text(), "python"):
            exec(compile(code, name, "exec"), module.__dict__)
        return vars(module)

    return run


@pytest.mark.parametrize("name", PAGES_THAT_RUN)
def test_python_runs(name, run_python):
    run_python(name)


def test_examples_of_the_readme(run_python):
    examples = blocks(README, "python")
    assert len(examples) == 3
    assert all(len([line for line in code.splitlines() if line]) <= 4 for code in examples)
    scope = run_python("README.md")
    assert scope["logits"].shape == (2, 100)
    assert scope["model"](torch.randn(1, 3, 64, 64)).shape == (1, 1000)
    assert scope["y"].shape == (2, 64, 6 + 2, 8)


def test_operators_of_their_page_are_convolutions(run_python):
    scope = run_python("ops/README.md")
    assert scope["y"].shape == scope["x"].shape == scope["z"].shape
    expected = torch.stack([
        torch.nn.functional.conv2d(x, w[:, None], padding=1, groups=64) for x, w in zip(scope["x"], scope["kernels"])
    ])  # fmt: skip
    torch.testing.assert_close(scope["z"], expected)


class Parsed(Exception):
    """Raised instead of running a command whose arguments were understood."""


def parse(command: str) -> None:
    """Read a command's arguments and stop; raise what ends it: Parsed, or SystemExit where it prints something."""
    argv = shlex.split(command)[1:]
    if argv[0] in TRAINING and (argv[0] != "predict" or of_a_data_set(argv[1:])):
        if "--ckpt_path" in argv:  # needs the run of the first line; parsing is what is tested here
            at = argv.index("--ckpt_path")
            del argv[at : at + 2]
        argv.append("--print_config")

    def only(parse_args):
        def parse_only(parser, *args, **kwargs):
            raise Parsed(parse_args(parser, *args, **kwargs))

        return parse_only

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in ("parse_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, only(getattr(argparse.ArgumentParser, name)))
        raise SystemExit(main(argv))


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_commands_parse(command, capsys):
    with pytest.raises((Parsed, SystemExit)) as stop:
        parse(command)
    if stop.type is SystemExit:
        assert stop.value.code == 0
        assert ("usage:" if "--help" in command else "model:") in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    ["dyc bulid", "dyc bench ops --shapes mobilenet", "dyc bench models --secs 3", "dyc fit --model.modle resnet18"],
)
def test_mistakes_do_not_parse(command, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(command)
    assert stop.value.code == 2


def test_citation_has_the_version_of_the_package():
    version = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1]
    assert version == re.search(r"^version = (.+)$", (ROOT / "setup.cfg").read_text(), re.M)[1]


FIRST_LINE = ["fit", "--config", str(ROOT / "experiments/quickstart.yaml")]


def results(folder: Path, shown: str) -> dict[str, str]:
    """Return the row of results of the last epoch of the first command, which ran in a folder and printed this."""
    assert "pip install -e . && dyc fit --config experiments/quickstart.yaml" in blocks(README, "")[0]
    for words in ("last checkpoint:", "CSV log:", "W&B files:", "try next:"):
        assert words in shown
    rows = csv.DictReader((folder / "runs/quickstart/version_0/test.csv").open())
    return next(row for row in rows if row["network"] == "last epoch")


def test_first_line_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = [f"--trainer.limit_{split}_batches=2" for split in ("train", "val", "test")]
    assert main([*FIRST_LINE, "--trainer.max_epochs=1", *short]) == 0
    assert 0 < float(results(tmp_path, capsys.readouterr().out)["test/loss"]) < 10


LESS = ("--trainer.max_epochs=3", "--trainer.callbacks.epochs=2", "--model.optimizer.lr=0.05")


@pytest.mark.parametrize(
    ("options", "accuracy"),
    [
        pytest.param(LESS, 0.85, marks=pytest.mark.exhaustive, id="less"),
        pytest.param((), 0.97, marks=pytest.mark.grid, id="whole"),  # minutes, where two tests share two cores
    ],
)
def test_first_line_trains(tmp_path, options, accuracy):
    done = run([Path(sys.executable).parent / "dyc", *FIRST_LINE, *options], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(results(tmp_path, done.stdout)["test/top1"]) >= accuracy
