"""What a training writes for W&B, read back from the files of its offline runs."""

import csv
import json
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
import yaml
from support.wandb_file import read_run

from lightning_modules.callbacks import WandbAttention, WandbPredictions, WandbSummary
from lightning_modules.cli import main
from lightning_modules.cli.fit_summary import offline_parts
from lightning_modules.cli.wandb_options import _continued, wandb_callbacks
from lightning_modules.loggers import build_loggers

FIT = [
    "fit",
    "--data.image_size=32",
    "--data.val_fraction=0.1",
    "--data.batch_size=16",
    "--trainer.accelerator=cpu",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=3",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
]
DYNAMIC = ["--model.model=test_efficientnet", "--model.dynamic=dyc", "--model.dynamic.where=blocks"]
ANNEALED = ["--trainer.callbacks+=lightning_modules.TemperatureAnnealing", "--trainer.callbacks.epochs=2"]
STATIC = ["--model.model=test_resnet", "--trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """A folder to run in, with the files of W&B's own user folder in it too."""
    folder = tmp_path_factory.mktemp("wandb")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def offline_runs(folder):
    return [read_run(path) for path in sorted(folder.glob("version_*/wandb/offline-run-*"), key=lambda p: p.name)]


@pytest.fixture(scope="module")
def parts(inside):
    """A dynamic network's run of two epochs, resumed after the first: W&B's file of each part."""
    options = [*FIT, *DYNAMIC, *ANNEALED, "--name=exp/dyc/seed0", "--wandb_tags=[mine]"]
    for epochs, more in ((1, []), (2, ["--ckpt_path=last"])):
        assert main([*options, f"--trainer.max_epochs={epochs}", *more]) == 0
    return offline_runs(inside / "runs/exp/dyc/seed0")


def test_group_job_type_and_tags(parts):
    for part in parts:
        run = part.run
        assert (run.project, run.run_group, run.job_type) == ("dyc", "exp/dyc", "train")
        assert run.display_name == "exp/dyc/seed0/version_0"
        assert set(run.tags) == {
            *("test_efficientnet", "dynamic-dyc", "digits", "seed0", "mine"),
            *("attention-dyc", "backend-auto"),
        }
        assert part.status == 0


def test_config_has_flat_keys_beside_the_settings(inside, parts):
    config = parts[0].config
    expected = {
        "model": "test_efficientnet",
        "attention": "dyc",
        "num_kernels": 4,
        "where": "blocks",
        "backend": "auto",
    }
    expected |= {"temperature": 30.0, "data_name": "digits"}
    assert expected.items() <= config.items()
    assert [part.config["temperature_end"] for part in parts] == [15.5, 1.0]  # after one and two of two epochs
    assert config["parameters"] > 0 < config["macs"]
    assert config["dynamic"]["where"] == "blocks"
    logged = yaml.safe_load((inside / "runs/exp/dyc/seed0/version_0/hparams.yaml").read_text())
    assert logged.items() <= config.items()


def test_summary_counts_the_epochs_before_a_resume(inside, parts):
    values = {}
    for part in parts:
        values |= {row["epoch"]: row["val/top1"] for row in part.history if "val/top1" in row}
    assert list(values) == [0, 1]
    summary = parts[1].summary
    assert summary["epochs"] == 2
    assert summary["last/top1"] == values[1]
    assert summary["best/top1"] == max(values.values()) == values[summary["best/epoch"]]
    rates = [
        row["train/images_per_second"] for part in parts for row in part.history if "train/images_per_second" in row
    ]
    assert summary["images_per_second"] == pytest.approx(sum(rates) / 2)
    rows = list(csv.reader((inside / "runs/exp/dyc/seed0/version_1/test.csv").open()))
    tested = {row[0]: float(row[rows[0].index("test/top1")]) for row in rows[1:]}
    assert [summary["test_best/top1"], summary["test/top1"]] == [tested["best on validation"], tested["last epoch"]]


def test_every_figure_of_an_epoch_is_drawn_over_epochs_that_are_logged_with_it(parts):
    for part in parts:
        own = {key for key in part.axes if key not in ("epoch", "trainer/global_step")}
        over = {key: part.axes[key] for key in own}
        assert {key for key in own if over[key] != "epoch"} == {"train/loss_step"}
        assert over["train/loss_step"] == "trainer/global_step"
        assert {"train/loss", "val/top1", "test/top1", "test_best/top1", "attention/temperature", "lr-SGD/pg1"} <= own
        for row in part.history:
            assert {over[key] for key in row.keys() & own} <= row.keys()
    rates = [row["epoch"] for part in parts for row in part.history if "lr-SGD/pg1" in row]
    assert rates == [0, 1]  # logged by a callback that leaves the epoch out


def test_entropy_is_one_chart_per_stage_and_metrics_csv_keeps_each_layer(inside, parts):
    prefix = "attention/entropy/"
    rows = csv.DictReader((inside / "runs/exp/dyc/seed0/version_0/metrics.csv").open())
    row = next(row for row in rows if row["attention/entropy"])
    layers = {key.removeprefix(prefix): float(value) for key, value in row.items() if key.startswith(prefix)}
    assert len(layers) == 15
    logged = next(row for row in parts[0].history if "attention/entropy" in row)
    groups = {key.removeprefix(prefix): value for key, value in logged.items() if key.startswith(prefix)}
    assert sorted(groups) == [f"blocks.{stage}" for stage in range(5)]
    for group, value in groups.items():
        own = [entropy for name, entropy in layers.items() if name.startswith(group + ".")]
        assert value == pytest.approx(sum(own) / len(own))

    # At the end, a line for each layer, those of the epochs before the resume included.
    table = read_table(parts[1], "attention/layers/blocks.3_table")
    assert table["columns"] == ["step", "lineKey", "lineVal"]
    names = [name for name in layers if name.startswith("blocks.3.")]
    assert sorted(row[:2] for row in table["data"]) == sorted([epoch, name] for name in names for epoch in (0, 1))
    first = {name: value for epoch, name, value in table["data"] if epoch == 0}
    assert first == pytest.approx({name: layers[name] for name in names})


def read_table(part, key):
    return json.loads((part.files / part.summary[f"{key}.path"]).read_text())


def test_media_at_the_end(inside, parts):
    for part in parts:
        confusion = read_table(part, "predictions/confusion_table")
        assert confusion["columns"] == ["Actual", "Predicted", "nPredictions"]
        assert len(confusion["data"]) == 100
        assert sum(row[2] for row in confusion["data"]) == 48
        right = sum(row[2] for row in confusion["data"] if row[0] == row[1])
        assert right / 48 == pytest.approx(part.summary["test/top1"])  # the network of the last epoch

        worst = read_table(part, "predictions/worst")
        assert len(worst["data"]) == 32
        losses = [row[-1] for row in worst["data"]]
        assert losses == sorted(losses, reverse=True)
        assert losses[0] >= part.summary["test/loss"]
        assert {row[1] for row in worst["data"]} <= {str(i) for i in range(48)}
        assert (part.files / part.summary["attention/kernels.path"]).stat().st_size > 1000
    pictures = list((inside / "runs/exp/dyc/seed0/version_0/wandb").rglob("artifacts/**/*"))
    assert pictures  # in the folder of the run, not in the user's home


def test_a_resumed_run_goes_on_with_its_wandb_run(inside, parts):
    first, second = parts
    assert first.run.run_id == second.run.run_id
    assert second.run.resume
    assert max(row["_step"] for row in first.history) < min(row["_step"] for row in second.history)
    assert [row["epoch"] for row in second.history if "train/loss" in row] == [1]


def test_only_a_run_of_the_same_name_and_project_goes_on_with_its_wandb_run():
    known = {"id": "abc", "name": "exp/version_0", "project": "dyc", "step": 5}

    def continued(name="exp", project="dyc", folder="runs/exp/version_0/checkpoints", checkpoint=known):
        options = {"ckpt_path": f"{folder}/last.ckpt" if folder else None, "wandb_project": project}
        held = None if checkpoint is None else {"wandb": checkpoint}
        return _continued(SimpleNamespace(checkpoint=held, run_root=Path("runs"), run_name=name), options)

    assert continued() == known
    assert continued(folder="./runs/../runs/exp/version_3/checkpoints") == known
    assert continued(name="other") is None
    assert continued(project="other") is None
    assert continued(folder="downloads") is None
    assert continued(folder=None, checkpoint=None) is None
    assert continued(checkpoint={}) is None  # of a run without W&B


def test_media_can_be_left_out():
    def kinds(mode, media):
        return [type(each) for each in wandb_callbacks({"wandb": mode, "wandb_media": media})]

    assert kinds("disabled", True) == []
    assert kinds("auto", False) == [WandbSummary]
    assert kinds("auto", True) == [WandbSummary, WandbAttention, WandbPredictions]


def test_the_upload_that_is_proposed_has_all_parts_in_order(inside, parts):
    folder = Path("runs/exp/dyc/seed0")
    found = offline_parts(folder / "version_1")
    assert [path.parents[1].name for path in found] == ["version_0", "version_1"]
    assert shlex.join(map(str, found)).count("offline-run-") == 2
    assert offline_parts(folder / "version_2") == []


def test_a_server_that_cannot_be_reached_neither_stops_nor_asks(inside, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    wandb.teardown()  # it reads its variables once
    try:
        assert main([*FIT, *STATIC, "--name=unreachable", "--wandb_tags=mine"]) == 0
    finally:
        wandb.teardown()
    said = [line for line in capsys.readouterr().err.splitlines() if "W&B" in line]
    assert len(said) == 1
    assert said[0].startswith("W&B cannot be used (")
    assert said[0].endswith("; this run is logged offline")
    (run,) = offline_runs(inside / "runs/unreachable")
    assert run.status == 0
    assert run.summary["epochs"] == 1
    assert run.config["attention"] == "static"
    assert "mine" in run.run.tags  # one alone needs no brackets
    rest = ("num_kernels", "temperature", "temperature_end", "where", "backend")
    assert {run.config[key] for key in rest} == {None}
    assert not [key for key in run.summary if key.startswith("attention/")]


def test_online_without_a_key_is_offline(inside, monkeypatch, capsys):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(inside / "none"))
    monkeypatch.setenv("HOME", str(inside))
    wandb.teardown()
    try:
        logger = build_loggers(inside / "version_0", "name", "online", "project", [])[1]
    finally:
        wandb.teardown()
    assert logger._modes[0] == "offline"
    assert capsys.readouterr().err == "W&B has no API key, which `wandb login` would set; this run is logged offline\n"
