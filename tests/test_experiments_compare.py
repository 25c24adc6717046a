"""``dyc compare``: what it prints and writes about folders of runs."""

import csv
import os
import re
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest
from support.run_folders import write_run

from experiments.compare.run import state_by_age
from lightning_modules.cli import main


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a static and a dynamic network, three seeds each; the current folder is beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    runs = tmp_path / "runs"
    for seed, value in enumerate((0.70, 0.72, 0.77)):
        write_run(runs, f"cifar/static/seed{seed}", seed, test=value)
        write_run(runs, f"cifar/dyc/seed{seed}", seed, val=(0.8, 0.6), test=value + 0.1, dynamic=True)
    return runs


def rows(text):
    """Return the cells of the table, by the first of each row."""
    lines = [re.split(r"  +", line.strip()) for line in text.partition("\n\n")[0].splitlines()]
    return {cells[0]: cells for cells in lines}


def test_runs_that_differ_only_in_the_seed_are_one_row(root, capsys):
    assert main(["compare", "cifar/*"]) == 0
    shown, warned = capsys.readouterr()
    assert warned == ""
    found = rows(shown)
    assert list(found) == ["run", "dyc", "static"]
    assert "\nAll names begin with cifar/\n" in shown
    values = (0.70, 0.72, 0.77)
    deviation = f"{100 * stdev(values):.2f}"
    assert found["static"][1:] == [f"{mean(values):.2%}", deviation, "3", "1,000", "25,000", "100", "2", "2"]
    assert found["dyc"][1:] == ["83.00%", deviation, "3", "2,000", "30,000", "100", "1", "2"]
    differing = shown.partition("what differs:\n")[2]
    assert re.search(r"dyc +attention=dyc num_kernels=4 where=depthwise\n", differing)
    assert re.search(r"static +-\n", differing)
    assert not re.search("seed|parameters|max_epochs|optimizer", differing)


def test_one_seed_has_no_deviation_and_other_settings_are_another_row(root, capsys):
    write_run(root, "cifar/static/seed3", 3, optimizer={"lr": 0.2, "kwargs": {}})
    assert main(["compare", "cifar/static"]) == 0
    shown = capsys.readouterr().out
    assert rows(shown)["seed3/version_0"][1:4] == ["75.00%", "-", "1"]
    assert re.search(r"run +optimizer.lr\nseed0/version_0 +0.1\nseed3/version_0 +0.2", shown)


def test_a_run_that_goes_on_says_where_it_is_and_its_half_line_is_left_out(root, capsys):
    folder = write_run(root, "going/seed0", val=(0.1, 0.2, 0.3), test=None)
    with (folder / "metrics.csv").open("a") as file:
        file.write("3,39,,,,,,1.0,0.")
    assert main(["compare", "going"]) == 0
    assert rows(capsys.readouterr().out)["going"][1:4] == ["-", "-", "0"]
    assert main(["compare", "going", "--metric", "val/top1"]) == 0
    found = rows(capsys.readouterr().out)["going"]
    assert (found[1], found[-2], found[-1]) == ("30.00%", "3", "running, epoch 3/4")


def test_a_run_that_has_just_started_is_shown(root, capsys):
    (write_run(root, "new", test=None) / "metrics.csv").unlink()
    assert main(["compare", "new"]) == 0
    assert rows(capsys.readouterr().out)["new"][-1] == "running, epoch 0/4"


def test_a_checkpoint_that_is_replaced_while_the_run_is_read_does_not_matter(root, monkeypatch):
    folder = write_run(root, "going", test=None)
    names = [(place, inside, [*files, "last.ckpt.part"]) for place, inside, files in os.walk(folder)]
    monkeypatch.setattr(os, "walk", lambda _: names)  # as it was a moment ago
    assert state_by_age(folder, {}) == "running"


def test_unfinished_seeds_are_no_part_of_the_mean_of_finished_ones(root, capsys):
    write_run(root, "cifar/static/seed3", 3, val=(0.1,), test=None)
    assert main(["compare", "cifar/static", "--metric", "val/top1"]) == 0
    found = rows(capsys.readouterr().out)["cifar/static"]
    assert found[1:4] == ["75.00%", "0.00", "3"]
    assert found[-1] == "1 of 4: running, epoch 1/4"


def test_a_copied_folder_gives_the_same_table(root, capsys, tmp_path):
    main(["compare", "cifar"])
    before = capsys.readouterr().out
    shutil.move(root, tmp_path / "copy")
    main(["compare", str(tmp_path / "copy/cifar")])
    assert capsys.readouterr().out == before
    main(["compare", f"{tmp_path}/c*/cifar/*/seed?"])
    assert capsys.readouterr().out == before


def wrong_yaml(folder):
    (folder / "hparams.yaml").write_text("a: [")
    return "hparams.yaml: it cannot be read"


def no_settings(folder):
    (folder / "hparams.yaml").unlink()
    return "neither hparams.yaml nor config.yaml"


def wrong_cells(folder):
    path = folder / "metrics.csv"
    path.write_text(path.read_text() + "1,2\n")
    return "metrics.csv: line 11 is damaged: 2 cells where its first line has 9"


def no_number(folder):
    path = folder / "metrics.csv"
    path.write_text(path.read_text() + "4,x,,,,,,,\n")
    return "metrics.csv: line 11 is damaged: step is 'x', which is no number"


def no_count(folder):
    path = folder / "hparams.yaml"
    path.write_text(path.read_text().replace("parameters: 1000", "parameters: many"))
    return "hparams.yaml: it is damaged: parameters is 'many', which is not a whole number"


def no_name(folder):
    (folder / "hparams.yaml").write_text("name: [x]\n")
    return "hparams.yaml: it is damaged: name is \"['x']\", which is not text"


def half_a_config(folder):
    (folder / "hparams.yaml").unlink()
    (folder / "config.yaml").write_text("trainer:\n  callbacks:\n  - class_pa")
    return "config.yaml: model, data or trainer are not as `dyc fit` writes them"


def binary(folder):
    (folder / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    return "metrics.csv: it cannot be read"


@pytest.mark.parametrize(
    "damage", [wrong_yaml, no_settings, wrong_cells, no_number, no_count, no_name, half_a_config, binary]
)
def test_a_damaged_run_is_named_and_the_rest_is_shown(root, capsys, damage):
    reason = damage(root / "cifar/static/seed1/version_0")
    assert main(["compare", "cifar/static"]) == 0
    shown, warned = capsys.readouterr()
    assert rows(shown)["cifar/static"][3] == "2"
    assert warned.startswith("dyc compare: warning: left out: runs/cifar/static/seed1/version_0")
    assert reason in warned
    assert warned.count("\n") == 1
    assert main(["compare", "cifar/static/seed1"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compare"], "RUN: name the runs to compare"),
        (["compare", "cifar/statik"], "cifar/static/seed0"),
        (["compare", "cifar", "--metric", "test/top2"], "'test/top1'"),
        (["compare", "cifar", "--by", "optimizer.rl"], "'optimizer.lr'"),
        (["compare", "cifar", "--html", "page.txt"], "need a file name that ends with .html"),
        (["compare", "--markdown", "cifar"], "need a file name that ends with .md"),
        (["compare", "cifar", "--csv", "runs"], "need a file that does not exist yet"),
        (
            ["compare", "cifar", "--csv", "a.md", "--markdown", "a.md"],
            "--markdown: got 'a.md'; need another file than --csv",
        ),
        (["compare", ""], "RUN: got ''; need a run below 'runs'"),
        (["compare", "x" * 300], "(File name too long); need a name, a folder, or a pattern with *"),
        (["compare", "cifar", "**x"], "need a name, a folder, or a pattern with *"),
        (["compare", "cifar", "--publish"], "--publish: needs --wandb ENTITY/PROJECT"),
        (["compare", "--wandb", "project"], "need ENTITY/PROJECT"),
    ],
)
def test_what_cannot_be_used_is_one_line(root, capsys, argv, message):
    assert main(argv) == 2
    shown, error = capsys.readouterr()
    assert shown == ""
    assert error.count("\n") == 1
    assert message in error


def test_runs_can_be_grouped_by_a_setting(root, capsys):
    write_run(root, "other", model="resnet18", test=0.5)
    assert main(["compare", "cifar", "other", "--by", "model"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["model=resnet18"][1:4] == ["50.00%", "-", "1"]
    assert found["model=test_resnet"][3:6] == ["6", "1,000-2,000", "25,000-30,000"]
    assert main(["compare", "cifar", "--by", "attention", "--by", "lr"]) == 0
    assert list(rows(capsys.readouterr().out)) == ["run", "attention=dyc, lr=0.1", "attention=-, lr=0.1"]


def test_runs_may_stand_behind_options(root, capsys):
    write_run(root, "other", model="resnet18", test=0.5)
    assert main(["compare", "cifar", "--by", "model", "other"]) == 0
    assert list(rows(capsys.readouterr().out)) == ["run", "model=test_resnet", "model=resnet18"]
    assert main(["compare", "cifar", "--my", "model"]) == 2
    assert "--my: there is no such option" in capsys.readouterr().err


def test_long_settings_are_shown_to_their_end(root, capsys, monkeypatch):
    long = " ".join(f"part{n}" for n in range(60))
    write_run(root, "cifar/long", policy=long)
    for width in ("80", "2000"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["compare", "cifar"]) == 0
        assert long in capsys.readouterr().out
    assert main(["compare", "cifar", "--markdown", "t.md", "--html", "t.html"]) == 0
    assert long in Path("t.md").read_text()
    assert long in Path("t.html").read_text()


def test_figures_that_are_no_numbers_harm_nothing(root, capsys):
    folder = write_run(root, "nan", test=None)
    (folder / "metrics.csv").write_text("epoch,val/top1\n0,nan\n1,0.5\n2,0.4\nnan,0.4\ninf,0.4\n")
    assert main(["compare", "nan", "--metric", "val/top1"]) == 0
    found = rows(capsys.readouterr().out)["nan"]
    assert (found[1], found[-3], found[-2]) == ("40.00%", "2", "3")


def test_a_row_that_mixes_settings_says_which(root, capsys):
    main(["compare", "cifar", "--by", "model"])
    note = "Not only the seed differs within a row: dynamic.attention, dynamic.num_kernels, dynamic.where."
    assert note in capsys.readouterr().out
    main(["compare", "cifar", "--by", "attention"])
    assert "Not only" not in capsys.readouterr().out


def test_a_resumed_run_has_the_epochs_of_both_folders(root, capsys):
    write_run(root, "long/seed0", val=(0.9, 0.2), test=None)
    checkpoint = "/elsewhere/runs/long/seed0/version_0/checkpoints/last.ckpt"
    write_run(root, "long/seed0", val=(0.3, 0.4), first=2, version=1, ckpt_path=checkpoint)
    assert main(["compare", "long"]) == 0
    found = rows(capsys.readouterr().out)
    assert list(found) == ["run", "long"]
    assert found["long"][3] == "1"
    assert found["long"][6:] == ["102", "1", "4"]


def test_a_seed_counts_once(root, capsys):
    write_run(root, "twice", test=0.1)
    write_run(root, "twice", test=0.2, version=1)
    write_run(root, "twice", test=None, version=2)
    assert main(["compare", "twice"]) == 0
    shown = capsys.readouterr().out
    assert rows(shown)["twice"][1:4] == ["20.00%", "-", "1"]
    assert "same settings and seed: twice/version_0, twice/version_2." in shown


def test_config_yaml_is_read_where_there_is_no_hparams_yaml(root, capsys):
    folder = root / "cifar/static/seed1/version_0"
    (folder / "hparams.yaml").unlink()
    (folder / "config.yaml").write_text(
        "seed_everything: 1\nname: cifar/static/seed1\nmodel: {model: test_resnet, optimizer: {lr: 0.1}}\n"
        "data: {root: x}\ntrainer: {max_epochs: 4, callbacks: [{class_path: a.Own}]}\n"
    )
    assert main(["compare", "cifar/static"]) == 0
    assert re.search(r"run +trainer.callbacks\n.+\n.* +Own=True", capsys.readouterr().out)


def test_files(root, capsys):
    written = ["--csv", "t.csv", "--markdown", "t.md", "--html", "t.html", "--plot", "t.svg"]
    assert main(["compare", "cifar", *written]) == 0
    shown = capsys.readouterr().out
    assert all(f"{label}: t.{end}" in shown for label, end in (("table", "csv"), ("picture", "svg"), ("page", "html")))
    found = {row["run"]: row for row in csv.DictReader(Path("t.csv").read_text().splitlines())}
    assert float(found["cifar/dyc"]["mean"]) == pytest.approx(0.83)
    assert (found["cifar/dyc"]["macs"], found["cifar/dyc"]["best_epoch"]) == ("30000", "1")
    assert found["cifar/static"]["dynamic"] == "-"
    text, page = Path("t.md").read_text(), Path("t.html").read_text()
    assert "| dyc | 83.00% |" in text
    assert page.count("<svg") == 2
    assert "currentColor" in page
    assert not re.search(r'(src|href)="(?!#)|@import|#010203', re.sub(r'xmlns:?\w*="[^"]*"', "", page))
    named = re.findall(r'\bid="([^"]+)"', page)
    assert len(named) == len(set(named))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(named)
    main(["compare", "cifar", "--markdown"])
    assert capsys.readouterr().out == text
