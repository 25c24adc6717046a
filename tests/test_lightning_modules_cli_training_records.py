"""What ``dyc fit``, ``test`` and ``validate`` write down, and what they say about it."""

import csv
import os
import re
import shlex
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch.trainer.connectors.logger_connector import result

from lightning_modules import ImageClassifier
from lightning_modules.callbacks.checkpoint import LastCheckpoint
from lightning_modules.cli import main
from lightning_modules.cli.evaluations import (
    CHOSEN_ON_TEST,
    check_finite,
)
from lightning_modules.cli.quiet import quiet
from ops import ArgumentError

FIT = [
    "fit",
    "--model.model=test_resnet",
    "--data.image_size=32",
    "--data.val_fraction=0.1",
    "--data.batch_size=16",
    "--trainer.accelerator=cpu",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--wandb=disabled",
]
CSV = "CSVLogger", "--trainer.logger.save_dir=logs"
OWN = ["metrics.csv", "hparams.yaml"]
SCHEDULE = ["--trainer.callbacks+=lightning_modules.TemperatureAnnealing", "--trainer.callbacks.epochs=2"]


def run(folder, *argv):
    """Run a command in a folder and return what it prints."""
    before, shown = os.getcwd(), StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(shown), pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            assert main(argv) == 0
    finally:
        os.chdir(before)
    return shown.getvalue()


def rows(path):
    return list(csv.DictReader(path.open()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one run of two epochs, whose best network is not the last, and what it printed."""
    folder = tmp_path_factory.mktemp("records")
    options = ["--name=my run", "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", *SCHEDULE]

    def log_less_each_epoch(classifier):
        classifier.log("val/top1", 1 / (1 + classifier.current_epoch), prog_bar=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageClassifier, "on_validation_epoch_end", log_less_each_epoch)
        return folder, run(folder, *FIT, *options)


def test_figures_of_the_last_and_the_best_network_have_names_of_their_own(trained):
    folder, shown = trained
    version = folder / "runs/my run/version_0"
    tested = {row["network"]: row for row in rows(version / "test.csv")}
    assert list(tested) == ["last epoch", "best on validation"]
    assert tested["last epoch"]["test/loss"] != tested["best on validation"]["test/loss"]
    logged = rows(version / "metrics.csv")
    for prefix, network in (("test/", "last epoch"), ("test_best/", "best on validation")):
        for key in ("top1", "top5", "loss"):
            values = [row[prefix + key] for row in logged if row[prefix + key]]
            assert values == [tested[network][f"test/{key}"]]
    assert "last epoch (test/*)" in shown
    assert "best on validation (test_best/*)" in shown


def test_the_loss_of_every_step_that_was_asked_for_is_logged(trained):
    logged = rows(trained[0] / "runs/my run/version_0/metrics.csv")
    steps = [row for row in logged if row["train/loss_step"]]
    assert [row["step"] for row in steps] == ["0", "1", "2", "3"]
    means = [float(row["train/loss"]) for row in logged if row["train/loss"]]
    losses = [float(row["train/loss_step"]) for row in steps]
    assert means == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2], rel=1e-5)


def test_the_bar_fits_into_80_columns_and_counts_as_the_lines_do(trained):
    shown = trained[1]
    bars = [line for line in re.split(r"[\r\n]", shown) if line.startswith("Epoch ")]
    assert bars
    assert all(len(line.rstrip()) <= 80 and " loss: " in line and " top-1: " in line for line in bars)
    assert all(line.startswith("Epoch 2/2") for line in bars)  # no terminal: only the last state is printed
    assert "epoch 2/2: loss" in shown
    assert "v_num" not in shown


def test_the_settings_of_a_run_are_plain_yaml_and_complete(trained):
    version = trained[0] / "runs/my run/version_0"
    found = yaml.safe_load((version / "hparams.yaml").read_text())
    assert found["seed_everything"] == 0
    assert found["model"] == "test_resnet"
    assert found["crop_scale"] == [0.08, 1.0]
    assert (found["num_classes"], found["image_size"]) == (10, 32)
    assert found["parameters"] == 373_370
    assert found["macs"] == 4_025_280
    assert found["data_name"] == "digits"
    assert found["trainer"]["max_epochs"] == 2
    assert found["trainer"]["callbacks"]["TemperatureAnnealing"]["epochs"] == 2


@pytest.mark.parametrize(
    ("name", "options", "loggers", "own"),
    [
        (
            "added",
            [f"--trainer.logger+={CSV[0]}", CSV[1]],
            ["RunLoggers", "CSVLogger"],
            ["metrics.csv", "hparams.yaml"],
        ),
        ("replaced", [f"--trainer.logger={CSV[0]}", CSV[1]], ["CSVLogger"], []),
        ("none", ["--trainer.logger=false"], [], []),
    ],
)
def test_loggers_are_added_or_replaced_and_only_files_that_exist_are_named(tmp_path, name, options, loggers, own):
    one = [*FIT, "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
    shown = run(tmp_path, *one, f"--name={name}", *options)
    version = tmp_path / "runs" / name / "version_0"
    assert {path.name for path in version.iterdir()} == {"checkpoints", "config.yaml", "test.csv", *own}
    named = [line.split(":", 1)[1].strip() for line in shown.partition("try next")[0].splitlines() if ": " in line]
    paths = [tmp_path / path for path in named if path.startswith(("runs", "logs"))]
    assert len(paths) == 4 + len(loggers)  # two checkpoints, results, settings
    assert all(path.exists() for path in paths)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "logs"} if loggers else {"runs"}
    saved = yaml.safe_load((version / "config.yaml").read_text())["trainer"]["logger"] or []
    saved = saved if isinstance(saved, list) else [saved]
    assert [each["class_path"].rpartition(".")[2] for each in saved] == loggers


def test_every_command_that_is_proposed_runs(trained):
    folder, shown = trained
    proposed = [shlex.split(line) for line in shown.partition("try next:\n")[2].splitlines()]
    assert [command[:2] for command in proposed] == [["dyc", name] for name in ("fit", "fit", "predict", "models")]
    run(folder, *proposed[0][1:], "--trainer.fast_dev_run=true")  # a larger network: one batch is enough
    run(folder, *proposed[1][1:])
    assert (folder / "runs/my run/version_1/test.csv").is_file()
    run(folder, *proposed[2][1:], "--trainer.limit_predict_batches=1")
    assert (folder / "runs/my run/version_2/predictions.csv").is_file()


def test_an_evaluation_says_what_it_evaluates_and_keeps_what_it_finds(trained):
    folder, _ = trained
    version = Path("runs/my run/version_0")
    before = (folder / version / "test.csv").read_bytes()
    best, last = (version / f"checkpoints/{name}.ckpt" for name in ("best", "last"))
    shown = run(folder, "test", f"--ckpt_path={best}", "--trainer.limit_test_batches=1")
    assert f"{best}: test_resnet of epoch 1, step 2; the best by val/top1 (100.00%)\n" in shown
    assert "digits: test split, 16 of 360 images" in shown
    assert CHOSEN_ON_TEST not in shown  # a share of the training images was held out
    assert f"written to {version / 'evaluations.csv'}" in shown
    shown = run(folder, "validate", f"--ckpt_path={last}", "--trainer.limit_val_batches=1")
    assert f"{last}: test_resnet of epoch 2, step 4\n" in shown
    assert shown.count("top-1") == 1  # one table, not Lightning's as well
    found = rows(folder / version / "evaluations.csv")
    assert [(row["split"], row["epoch"], row["data"], row["images"]) for row in found] == [
        ("test", "1", "digits", "16"),
        ("validation", "2", "digits", "16"),
    ]
    tested = {row["network"]: row for row in csv.DictReader(before.decode().splitlines())}
    assert found[0]["top1"] == tested["best on validation"]["test/top1"]
    assert (folder / version / "test.csv").read_bytes() == before


def test_a_network_of_nans_has_no_accuracy_and_predicts_no_class(trained, tmp_path, monkeypatch, capsys):
    checkpoint = torch.load(trained[0] / "runs/my run/version_0/checkpoints/last.ckpt", weights_only=True)
    for value in checkpoint["state_dict"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    torch.save(checkpoint, tmp_path / "nan.ckpt")
    monkeypatch.chdir(tmp_path)
    options = ["--ckpt_path=nan.ckpt", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    for command, key in (("test", "test/loss"), ("validate", "val/loss")):
        assert main([command, *options]) == 2
        shown = capsys.readouterr()
        assert f"dyc {command}: error: ckpt_path: outputs of nan.ckpt are not finite ({key} is nan); " in shown.err
        assert "top-1" not in shown.out
    assert not Path("evaluations.csv").exists()
    assert main(["predict", *options, "--trainer.limit_predict_batches=1"]) == 3
    assert "16 of 16 images have no class, as their probabilities are not finite" in capsys.readouterr().err
    found = rows(tmp_path / "runs/run/version_0/predictions.csv")
    reasons = {row.pop("error") for row in found}
    assert reasons == {"probabilities are not finite"}
    assert {value for row in found for key, value in row.items() if key != "image"} == {""}


@pytest.mark.parametrize("label", ["best on validation", "last epoch"])
def test_the_summary_refuses_a_loss_that_is_not_finite(label):
    trainer = SimpleNamespace(precision="32-true")
    check_finite({"test/loss": 0.5, "test/top1": float("nan")}, label, trainer)
    with pytest.raises(ArgumentError, match=rf"outputs of {label} are not finite \(test/loss is inf\)"):
        check_finite({"test/top1": 0.5, "test/loss": float("inf")}, label, trainer)


def test_a_network_that_was_chosen_on_the_images_of_its_test_says_so(tmp_path, write_classes):
    for split in ("train", "val"):
        write_classes(tmp_path / "images" / split)
    folder = ["--data.dataset=folder", "--data.root=images", "--data.num_workers=0", "--data.val_fraction=0"]
    run(tmp_path, *FIT, *folder, "--trainer.max_epochs=1", "--data.batch_size=4", "--trainer.enable_progress_bar=false")
    quietly = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    shown = run(tmp_path, "test", "--ckpt_path=best", *quietly)
    assert "images: validation split\n" in shown  # the folder that there is
    assert CHOSEN_ON_TEST in shown
    assert CHOSEN_ON_TEST not in run(tmp_path, "test", "--ckpt_path=last", *quietly)
    (tmp_path / "images" / "val").rename(tmp_path / "images" / "test")
    (tmp_path / "images").rename(tmp_path / "others")
    shown = run(tmp_path, "validate", "--ckpt_path=best", "--data.root=others", *quietly)
    assert "others: test split\n" in shown
    assert CHOSEN_ON_TEST not in shown
    found = rows(tmp_path / "runs/run/version_0/evaluations.csv")
    assert [(row["split"], row["data"]) for row in found] == [
        ("validation", "images"),
        ("validation", "images"),
        ("test", "others"),
    ]
    assert {row["images"] for row in found} == {str(len(list((tmp_path / "others" / "test").rglob("*.png"))))}


def test_an_evaluation_and_an_epoch_report_say_what_is_made_of_the_network(tmp_path):
    options = ["--model.dynamic.attention=dy", "--model.dynamic.where=layer4.*conv2", "--trainer.max_epochs=1"]
    shown = run(tmp_path, *FIT, *options)
    assert re.search(r"^test_resnet \(dy, layer4\.\*conv2\): .*, 1 dynamic layer, on cpu", shown, re.MULTILINE)
    shown = run(tmp_path, "test", "--ckpt_path=last", "--trainer.accelerator=cpu", "--trainer.limit_test_batches=1")
    assert "last.ckpt: test_resnet (dy, layer4.*conv2) of epoch 1" in shown
    assert len(re.findall(r"^ *test_resnet \(dy, layer4\.\*conv2\) ", shown, re.MULTILINE)) == 1


def warned_of_a_figure_of_one_process(first=lambda: None):
    """Return what Lightning warns of when it takes the mean of a figure that is not the mean over all processes."""
    metadata = result._Metadata("training_step", "x", on_step=False, on_epoch=True)
    metadata.sync = result._Sync()
    figure = result._ResultMetric(metadata, is_tensor=True)
    figure.update(torch.tensor(1.0), 1)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        first()
        patch.setattr(result, "_distributed_is_initialized", lambda: True)
        patch.setattr(result, "warning_cache", type(result.warning_cache)())
        result._ResultCollection._get_cache(figure, on_step=False)
    return shown


def test_nothing_is_warned_of_that_is_as_it_should_be(tmp_path):
    state = {"dirpath": "elsewhere", "best_model_path": "elsewhere/last.ckpt", "best_model_score": None}
    assert len(warned_of_a_figure_of_one_process()) == 1  # by Lightning itself
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet()
        last = LastCheckpoint(tmp_path)
        last.load_state_dict(state)  # every run has a folder of its own
    assert shown == []
    assert warned_of_a_figure_of_one_process(quiet) == []
    assert last.best_model_path == "elsewhere/last.ckpt"
