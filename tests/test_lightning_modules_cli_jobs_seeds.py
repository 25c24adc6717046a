"""``dyc fit --seeds 0 1 2``: a run for each seed, which goes on where it was stopped."""

import pytest
from support.fake_training import command, write_checkpoint

from lightning_modules.cli import main
from lightning_modules.cli.jobs.seeds import split, wanted
from lightning_modules.cli.jobs.training import Training


@pytest.fixture
def fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Training, "command", command)
    write_checkpoint(tmp_path / "runs/checkpoint", 1)
    return lambda *words: main(["fit", "--trainer.max_epochs=2", *words])


def test_every_seed_has_a_run_of_its_own(fit, tmp_path, capsys):
    (tmp_path / "own.yaml").write_text("name: mine\n")
    assert fit("--config", "own.yaml", "--seeds", "0", "7", "--jobs", "2") == 0
    assert {path.parent.name for path in tmp_path.glob("runs/mine/*/version_0")} == {"seed0", "seed7"}
    assert capsys.readouterr().out.endswith("2 seeds: test top-1 75.00% +- 0.00%\n")
    assert fit("--config=own.yaml", "--seeds=[0,3]", "--ckpt_path=auto") == 0
    assert [len(list(tmp_path.glob(f"runs/mine/seed{seed}/version_*"))) for seed in (0, 3)] == [1, 1]
    assert fit("--config=own.yaml", "--seeds", "0") == 0  # as dyc fit does without a checkpoint
    assert len(list(tmp_path.glob("runs/mine/seed0/version_*"))) == 2


def test_one_that_fails_is_told_by_the_exit_status(fit, capsys):
    with pytest.raises(SystemExit) as stop:
        fit("--name=fail", "--seeds", "0", "1")
    assert stop.value.code == 1
    shown = capsys.readouterr()
    assert shown.err.count("dyc fit: error: data.root: got nothing") == 2
    assert "go on with the same command and --ckpt_path last" in shown.out


def test_arguments():
    assert wanted(["fit", "--seeds", "0"])
    assert not wanted(["test", "--seeds", "0"])
    assert not wanted(["fit", "--seed_everything=0"])
    words = ["--config", "x.yaml", "--seeds", "0", "1", "--name=a", "--jobs=2"]
    assert split(words) == ([0, 1], 2, ["--config", "x.yaml", "--name=a"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds"], "seeds: needs a seed"),
        (["--seeds", "0", "x"], "seeds: got 'x'"),
        (["--seeds", "0", "-1"], "seeds: got '-1'"),
        (["--seeds=0", "--jobs", "-2"], "jobs: got '-2'"),
        (["--seeds=4294967296"], "need an int from 0 to 4294967295"),
        (["--seeds", "0", "0"], "each seed once"),
        (["--seeds", "0", "--jobs", "0"], "jobs: got '0'"),
        (["--seeds", "0", "--seed_everything", "1"], "seed_everything: give the seeds"),
        (["--seeds", "0", "--ckpt_path", "best"], "need last or auto"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(fit, capsys, words, said):
    assert fit(*words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
