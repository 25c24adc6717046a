"""python -m dyc: any script runs with the models registered, as Python itself would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import run

ROOT = Path(__file__).parents[1]

REPORT = """
import json, os, sys
import beside
registered = "timm" in sys.modules and sys.modules["timm"].is_model("dyc_mobilenetv2_cifar")
assert sys.modules["__main__"].registered is registered
sys.argv[0] = os.path.abspath(sys.argv[0]) if os.path.isdir(sys.argv[0]) else sys.argv[0]
print(json.dumps([__name__, __file__, sys.argv, os.path.abspath(sys.path[0]), registered]))
print("out of the way", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""

VALIDATE = """
import argparse
import torch, timm
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.utils import AverageMeter, accuracy

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--model")
args = parser.parse_args()
model = timm.create_model(args.model, num_classes=3).eval()
config = resolve_data_config({}, model=model)
loader = create_loader(
    create_dataset("", args.folder, split="validation"),
    input_size=config["input_size"], batch_size=4, use_prefetcher=False, num_workers=0, device=torch.device("cpu"),
)
top1 = AverageMeter()
with torch.inference_mode():
    for images, labels in loader:
        top1.update(accuracy(model(images), labels)[0].item(), len(labels))
print(f"{args.model} {top1.count} {config['input_size']}")
assert "dyc_mobilenetv2_cifar" in timm.list_models("dyc_*")
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return run(command, cwd=cwd, env=env)


@pytest.fixture
def program(tmp_path):
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "report.py").write_text(REPORT)
    (folder / "beside.py").write_text("")
    (folder / "__main__.py").write_text(REPORT)
    return folder


@pytest.mark.parametrize(
    "form", ["script", *(pytest.param(form, marks=pytest.mark.exhaustive) for form in ("module", "folder"))]
)
def test_it_runs_as_python_would_run_it(program, tmp_path, form):
    words, cwd = {
        "script": (["program/report.py"], tmp_path),
        "module": (["-m", "report"], program),
        "folder": (["program"], tmp_path),
    }[form]
    arguments = [*words, "7", "--help", "-m"]
    alone, with_models = python(*arguments, cwd=cwd), python("-m", "dyc", *arguments, cwd=cwd)
    assert alone.returncode == with_models.returncode == 7
    assert with_models.stdout.endswith(", true]\n")
    assert with_models.stdout.replace(", true]", ", false]") == alone.stdout
    assert "out of the way" in with_models.stderr


@pytest.mark.exhaustive
def test_a_script_of_timm(tmp_path, write_classes):
    write_classes(tmp_path / "data" / "validation")
    (tmp_path / "validate.py").write_text(VALIDATE)
    arguments = ["validate.py", "data", "--model", "dyc_mobilenetv2_cifar"]
    done = python("-m", "dyc", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "dyc_mobilenetv2_cifar 12 (3, 32, 32)\n"), done.stderr


class TestErrors:
    """In this process, which a program that is never started leaves alone."""

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ([], "which script?"),
            (["fit"], "there is no script 'fit'"),
            (["-m"], "-m needs the name of a module"),
            (["-m", "nothing.there"], "there is no module named 'nothing.there'"),
            (["-c", "pass"], "unknown option '-c'"),
        ],
    )
    def test_nothing_to_run(self, arguments, problem, capsys):
        from dyc.__main__ import USAGE, main

        before = sys.argv[:], sys.path[:]
        assert main(arguments) == 2
        assert capsys.readouterr().err == f"python -m dyc: {problem}\n\n{USAGE}"
        assert (sys.argv, sys.path) == before

    def test_a_folder_without_a_program(self, tmp_path, capsys):
        from dyc.__main__ import USAGE, main

        assert main([str(tmp_path)]) == 2
        problem = f"there is no __main__.py in the folder {str(tmp_path)!r}"
        assert capsys.readouterr().err == f"python -m dyc: {problem}\n\n{USAGE}"

    def test_help(self, capsys):
        from dyc.__main__ import USAGE, main

        assert main(["--help"]) == 0
        assert capsys.readouterr().out == USAGE

    def test_an_exception_of_the_program(self, tmp_path, monkeypatch):
        from dyc.__main__ import main

        for name in ("argv", "path"):
            monkeypatch.setattr(sys, name, getattr(sys, name)[:])
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        (tmp_path / "wrong.py").write_text("def f():\n    return 1 / 0\nf()\n")
        with pytest.raises(ZeroDivisionError) as error:
            main([str(tmp_path / "wrong.py"), "--option"])
        last = error.traceback[-1]
        assert (Path(last.path).name, last.lineno + 1, last.name) == ("wrong.py", 2, "f")
        assert sys.argv == [str(tmp_path / "wrong.py"), "--option"]
