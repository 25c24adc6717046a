"""``--import``: a user's own files and modules, found again by the runs that used them."""

import os
import shutil
import sys

import pytest
import timm
import torch
import yaml

from lightning_modules.cli import main
from lightning_modules.cli.imports import import_named, resolve
from ops import ArgumentError

MINE = """
import timm, dyc
from lightning.pytorch import Callback
from timm.models import register_model
from torch import nn

@register_model
def {name}_net(pretrained=False, num_classes=10, in_chans=3, **kwargs):
    net = nn.Sequential(nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
    return net

class Shout(Callback):
    def on_fit_start(self, trainer, pl_module):
        print("shout")

dyc.register_attention("{name}_attention", dyc.Attention)
"""

FIT = ["fit", "--data.batch_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--wandb=disabled"]
FIT += ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false"]
FIT += ["--trainer.accelerator=cpu"]


def forget(name):
    """Let a file be unknown again, as in a new process."""
    sys.modules.pop(name, None)
    for registry in (timm.models._registry._model_entrypoints, timm.models._registry._model_to_module):
        registry.pop(f"{name}_net", None)
    from dyc.layers import kinds

    kinds._KINDS.pop(f"{name}_attention", None)


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, name):
    path.parent.mkdir(exist_ok=True)
    path.write_text(MINE.format(name=name))


def test_a_run_finds_what_it_imported(inside, capsys, monkeypatch):
    write(inside / "code" / "mine_run.py", "mine_run")
    argv = [*FIT, "--import", "code/mine_run.py", "--model.model=mine_run_net", "--name=own"]
    assert main([*argv, "--trainer.callbacks+=mine_run.Shout"]) == 0
    assert "shout" in capsys.readouterr().out
    run = inside / "runs/own/version_0"
    path = str(inside / "code" / "mine_run.py")
    assert yaml.safe_load((run / "config.yaml").read_text())["import"] == [path]
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["imports"] == [path]

    forget("mine_run")
    assert main(["test", "--name=own", "--ckpt_path=last"]) == 0
    forget("mine_run")
    assert main(["compact", "--name=own"]) == 2  # it was found; it is just not selective
    assert "without selective layers" in capsys.readouterr().err

    # A checkpoint alone runs no code, although it says what its run imported.
    forget("mine_run")
    shutil.move(inside / "runs/own", inside / "elsewhere")
    checkpoint = str(inside / "elsewhere/version_0/checkpoints/last.ckpt")
    assert main(["test", f"--ckpt_path={checkpoint}"]) == 2
    shown = capsys.readouterr().err
    assert "give --import yourself" in shown
    assert path in shown
    assert "model.model: got 'mine_run_net'" in shown
    assert "mine_run" not in sys.modules
    assert main(["test", f"--ckpt_path={checkpoint}", f"--import={path}"]) == 0

    # The file moved: one line says which run wants it, and --import says where it is.
    forget("mine_run")
    shutil.move(inside / "elsewhere", inside / "runs/own")
    shutil.move(inside / "code", inside / "moved")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if not each.endswith("/code")])
    assert main(["test", "--name=own", "--ckpt_path=last"]) == 2
    needed = f"import: got {path!r}, which does not exist (runs/own/version_0/config.yaml names it; --import replaces"
    assert needed in capsys.readouterr().err
    assert main(["test", "--name=own", "--ckpt_path=last", "--import=moved/mine_run.py"]) == 0


def test_configuration_imports_from_beside_itself(inside, monkeypatch):
    write(inside / "recipes" / "mine_yaml.py", "mine_yaml")
    (inside / "helper_module.py").write_text("VALUE = 1\n")
    (inside / "recipes" / "one.yaml").write_text("import: mine_yaml.py\n")
    (inside / "two.yaml").write_text("import: [helper_module, recipes/mine_yaml.py]\n")
    path = str(inside / "recipes" / "mine_yaml.py")
    argv, configs = import_named(["fit", "-c", "recipes/one.yaml", "--config=two.yaml", "--name", "x"])
    assert argv == ["fit", "-c", "recipes/one.yaml", "--config=two.yaml", "--name", "x", argv[-1]]
    assert yaml.safe_load(argv[-1].removeprefix("--import=")) == [path, "helper_module"]
    assert len(configs) == 2
    assert timm.is_model("mine_yaml_net")
    assert sys.modules["helper_module"].VALUE == 1
    assert import_named(argv)[0] == argv  # as another process of the same training reads it


def test_imported_networks_are_listed(inside, capsys):
    write(inside / "mine_list.py", "mine_list")
    assert main(["models", "mine_list*", "--import=mine_list.py"]) == 0
    assert "mine_list_net" in capsys.readouterr().out


def test_command_line_comes_in_any_form(inside):
    for name in ("mine_a", "mine_b"):
        write(inside / f"{name}.py", name)
    argv, _ = import_named(["fit", "--import", "mine_a.py", "--name=x", "--import=mine_b.py"])
    assert argv[:2] == ["fit", "--name=x"]
    assert yaml.safe_load(argv[2].removeprefix("--import=")) == [resolve("mine_a.py"), resolve("mine_b.py")]
    assert os.path.isabs(resolve("mine_a.py"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.py", None, r"import: got 'nowhere\.py', which does not exist; need a Python file or a module"),
        ("nowhere_module", None, r"import: no module 'nowhere_module' is found; a file's name ends with \.py"),
        ("json.py", "", r"import: got '.*json\.py', but there is a module 'json' already; need another file name"),
        ("mine_wrong.py", "\nx = y\n", r"import: '.*' cannot be imported: NameError: .*'y'.*mine_wrong\.py, line 2\)"),
        ("mine_syntax.py", "def\n", r"import: '.*' cannot be imported: SyntaxError: .*mine_syntax\.py, line 1\)"),
        ("mine.dotted.py", "", r"import: got '.*mine\.dotted\.py', whose name would be .*; need another file name"),
        (".py", "", r"import: got '.*', whose name would be .*; need another file name"),
        ("mine_exit.py", "import sys\nsys.exit(3)\n", r"cannot be imported: SystemExit: 3 \(.*mine_exit\.py, line 2\)"),
        ("mine_quit.py", "\nraise SystemExit\n", r"cannot be imported: SystemExit \(.*mine_quit\.py, line 2\)"),
        ("mine_inner.py", "import json\njson.loads('')\n", r"JSONDecodeError: .*mine_inner\.py, line 2\)"),
        ("mine_lacking.py", "import no_such\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
    ],
)
def test_what_cannot_be_imported_is_one_line(inside, name, content, message):
    if content is not None:
        (inside / name).write_text(content)
    with pytest.raises(ArgumentError, match=message) as caught:
        import_named(["fit", "--import", name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argv", [["fit", "--import"], ["fit", "--import", "--name=x"]])
def test_option_without_a_value(argv):
    with pytest.raises(ArgumentError, match="import: --import needs a value"):
        import_named(argv)


def test_wrong_key_in_a_configuration(inside):
    (inside / "x.yaml").write_text("import: {a: 1}\n")
    with pytest.raises(ArgumentError, match=r"import: got {'a': 1}; need Python files or modules"):
        import_named(["fit", "--config=x.yaml"])


def test_a_bench_knows_what_it_imports(inside):
    write(inside / "mine_timed.py", "mine_timed")
    with pytest.raises(SystemExit):
        main(["bench", "models", "--import", "mine_timed.py", "mine_timed_net", "--help"])
    assert timm.is_model("mine_timed_net")
    forget("mine_timed")
