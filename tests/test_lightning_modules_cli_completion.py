"""The script that completes the command line."""

import pytest
from support.processes import run

from dyc.models import model_names
from lightning_modules.cli import COMMANDS, completion, main

ASK = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dyc; echo "${COMPREPLY[*]}"'


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        assert main(["--install-completion"]) == 0
    return folder / "bash-completion/completions/dyc"


def test_where_to_read_it_from_is_printed_as_a_shell_reads_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(completion, "script", lambda: "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "my data"))
    path = completion.install()
    assert path.is_file()
    assert capsys.readouterr().out.endswith(f"run: source '{path}'\n")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(completion, "script", lambda: "")
    home = tmp_path / "file"
    home.touch()  # refused to every user, root too
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    assert main(["--install-completion"]) == 2
    shown = capsys.readouterr().err
    path = home / "bash-completion/completions/dyc"
    assert shown == (
        f"dyc --install-completion: error: {str(path)!r} cannot be written (Not a directory); "
        "set XDG_DATA_HOME to a folder of yours\n"
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ([""], [*COMMANDS, "--help", "--version", "--install-completion"]),
        (["pre"], ["predict"]),
        (["fit", "--trainer.max_e"], ["--trainer.max_epochs"]),
        (["fit", "--model.optimizer.l"], ["--model.optimizer.layer_decay", "--model.optimizer.lr"]),
        (["fit", "--model.model", "dyc_mobilenetv2_c"], ["dyc_mobilenetv2_cifar"]),
        (["models", "--arg"], ["--arguments"]),
        (["models", ""], model_names()),
        (["run", "dyc/table1/cifar10/d"], ["dyc/table1/cifar10/dy", "dyc/table1/cifar10/dyc"]),
        (["report", "dyn"], ["dynet"]),
        (["build", ""], []),
        (["compact", "--keep"], ["--keep_below"]),
        (["analyze", "corr"], ["correlation"]),
    ],
)
def test_the_shell_offers_what_there_is(installed, typed, offered):
    done = run(["bash", "-c", ASK, "-", installed, "dyc", *typed])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == offered
