"""The console script: it trains, evaluates and predicts, and says in one line what it cannot use."""

import csv
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.forked_fits import COMMAND
from support.processes import run

from lightning_modules import ImageData
from lightning_modules.cli import COMMANDS, main
from lightning_modules.cli.training import DycCLI

FIT = [
    "fit",
    "--model.model=mobilenetv2_cifar",
    "--data.val_fraction=0.1",
    "--data.batch_size=64",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
]

DYC = "--model.model=dyc_mobilenetv2_cifar"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one finished run, W&B files included."""
    folder = tmp_path_factory.mktemp("cli")
    previous = os.getcwd()
    os.chdir(folder)
    try:
        assert main([*FIT, "--name=first"]) == 0
    finally:
        os.chdir(previous)
    return folder


@pytest.fixture
def inside(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def error(capsys, *argv):
    """Run a command that must fail, and return the one line that it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dyc", *argv])
        try:
            status = main(list(argv))
        except SystemExit as stop:  # jsonargparse's own errors
            status = stop.code
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    return next(line for line in reversed(lines) if "error:" in line)


def test_run_leaves_everything_in_its_folder(trained):
    run = trained / "runs/first/version_0"
    assert {"checkpoints", "config.yaml", "metrics.csv", "test.csv", "wandb"} <= {p.name for p in run.iterdir()}
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert {p.name for p in trained.iterdir()} == {"runs"}
    columns = next(csv.reader((run / "metrics.csv").open()))
    assert {"train/loss", "val/top1", "lr-SGD", "train/images_per_second"} <= {c.split("/pg")[0] for c in columns}


def test_next_run_has_a_folder_of_its_own(inside, capsys):
    before = (inside / "runs/first/version_0/metrics.csv").read_bytes()
    assert main([*FIT, "--name=first", "--wandb=disabled"]) == 0
    assert (inside / "runs/first/version_1/metrics.csv").is_file()
    assert (inside / "runs/first/version_0/metrics.csv").read_bytes() == before
    shown = capsys.readouterr().out
    assert "last epoch" in shown
    assert "try next" in shown


@pytest.mark.parametrize("command", ["validate", "test"])
def test_saved_settings_evaluate_a_checkpoint(inside, capsys, command):
    run = inside / "runs/first/version_0"
    assert main([command, f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'checkpoints/last.ckpt'}"]) == 0
    assert "top-1" in capsys.readouterr().out


def test_checkpoint_alone_says_which_network_it_is(inside, capsys):
    argv = ["test", "--name=first", "--ckpt_path=best", "--data.dataset=digits", "--trainer.limit_test_batches=1"]
    assert main(argv) == 0
    assert "top-1" in capsys.readouterr().out


def test_evaluation_prepares_images_as_the_training_did(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = ["--data.image_size=16", "--data.mean=[0.5]", "--data.std=[0.25]", "--wandb=disabled"]
    assert main([*FIT, "--name=prepared", *data]) == 0
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.full((20, 20), 128, np.uint8)).save(folder / "grey.png")
    seen = []
    prepared = ImageData.on_after_batch_transfer
    monkeypatch.setattr(
        ImageData, "on_after_batch_transfer", lambda *a: seen.append((a[0], prepared(*a))) or prepared(*a)
    )
    assert main(["test", "--name=prepared", "--ckpt_path=last", "--trainer.limit_test_batches=1"]) == 0
    assert main(["predict", "--name=prepared", "--ckpt_path=last", f"--data.predict_folder={folder}"]) == 0
    for module, (images, *_) in seen:
        assert images.shape[-1] == 16
        assert (module.mean, module.std) == ((0.5,), (0.25,))
    torch.testing.assert_close(seen[-1][1][0], torch.full((1, 1, 16, 16), (128 / 255 - 0.5) / 0.25))


def test_predictions_are_a_table_of_probabilities(inside):
    run = inside / "runs/first/version_0"
    assert main(["predict", f"--config={run / 'config.yaml'}", "--ckpt_path=last", "--name=first"]) == 0
    table = max(inside.glob("runs/first/version_*/predictions.csv"), key=lambda p: p.stat().st_mtime)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 360
    assert all(0 <= float(row["probability1"]) <= 1 for row in rows)
    assert sorted(float(rows[0][f"probability{k}"]) for k in range(1, 6))[-1] == float(rows[0]["probability1"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: dyc {command}")
    assert len(shown.splitlines()[0]) < 160


def test_only_the_command_that_runs_gets_a_parser(monkeypatch):
    built, prepare = [], DycCLI._prepare_subcommand_parser
    monkeypatch.setattr(DycCLI, "_prepare_subcommand_parser", lambda *a, **k: built.append(a[2]) or prepare(*a, **k))
    with pytest.raises(SystemExit):
        main(["test", "--help"])
    assert built == ["test"]


def test_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["modles"], "command: got 'modles' (did you mean 'models'?)"),
        (["models", "nothing*"], "filter: got 'nothing*'"),
        (["models", "resnet18"], "add --timm to list all of timm's models"),
        (["models", "--image-size=0"], "--image-size: got '0'; need an int, at least 1"),
        (["models", "--image-size", "-3"], "--image-size: got '-3'; need an int, at least 1"),
        (["models", "--num-classes", "-1"], "--num-classes: got '-1'; need an int, at least 0"),
        (["models", "--published", "--num-classes=0"], "--published: cannot be combined with --num-classes"),
        (["models", "--published", "--layers"], "--published: cannot be combined with --num-classes"),
        (["fit"], "model.model: got None"),
        ([*FIT, "--model.model=dyc_mobilnetv2"], "model.model: got 'dyc_mobilnetv2' (did you mean 'dyc_mobilenetv2'"),
        ([*FIT, "--model.num_classes=7"], "model.num_classes: got 7; need 10"),
        ([*FIT, "--data.dataset=cifar10"], "did you mean 'torch/cifar10'"),
        ([*FIT, "--data.dataset=torch/cifar10", "--data.root=nowhere"], "data.root: got 'nowhere'"),
        ([*FIT, "--data.dataset=folder", "--data.root=nowhere"], "data.root: got 'nowhere', which does not exist"),
        ([*FIT, "--data.image_size=4"], "data.image_size: got images of 4 x 4 pixels; need at least 8"),
        ([*FIT, "--name=../elsewhere"], "name: got '../elsewhere'"),
        ([*FIT, "--ckpt_path=last", "--name=unheard"], "ckpt_path: got 'last', but runs/unheard has none"),
        ([*FIT, "--ckpt_path=no.ckpt"], "ckpt_path: got 'no.ckpt', which does not exist"),
        (["test"], "ckpt_path: name the checkpoint to evaluate"),
        ([*FIT, "--runs=/proc/nowhere"], "runs: got '/proc/nowhere'"),
        (
            [*FIT, "--model.model=dyc_mobilenetv2_cifar", "--model.model_kwargs.backend=cup"],
            "model_kwargs.backend: got",
        ),
        (
            [*FIT, "--model.model=vit_tiny_patch16_224", "--data.image_size=32"],
            "data.image_size: got images of 32 x 32",
        ),
    ],
)
def test_wrong_arguments_are_named_and_leave_nothing_behind(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in error(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


def test_option_that_does_not_exist(capsys):
    assert "no_such_option" in error(capsys, *FIT, "--model.no_such_option=1")


def test_truncated_checkpoint(inside, capsys, tmp_path):
    whole = (inside / "runs/first/version_0/checkpoints/last.ckpt").read_bytes()
    for share in (0, 0.5, 0.99):
        path = tmp_path / f"{share}.ckpt"
        path.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated or damaged" in error(capsys, *FIT, f"--ckpt_path={path}")


def test_file_that_is_no_checkpoint(inside, capsys, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "without a network's settings" in error(capsys, *FIT, f"--ckpt_path={tmp_path / 'other.ckpt'}")


def test_checkpoint_of_another_network(inside, capsys):
    path = inside / "runs/first/version_0/checkpoints/last.ckpt"
    shown = error(capsys, *FIT, "--model.model=dyc_mobilenetv2_cifar", f"--ckpt_path={path}")
    assert "ckpt_path: got a checkpoint of 'mobilenetv2_cifar'; need one of 'dyc_mobilenetv2_cifar'" in shown


def test_checkpoint_of_the_same_network_with_other_settings(inside, capsys):
    path = inside / "runs/first/version_0/checkpoints/last.ckpt"
    shown = error(capsys, *FIT, "--trainer.max_epochs=2", "--model.ema_decay=0.9", f"--ckpt_path={path}")
    assert "tensors differ" in shown


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.optimizer.opt=adamw", "model.optimizer.opt: got adamw; need momentum"),
        ("--model.optimizer.filter_bias_and_bn=false", "model.optimizer.filter_bias_and_bn: got False; need True"),
        ("--trainer.max_epochs=1", "trainer.max_epochs: got 1; need more than 1"),
    ],
)
def test_resume_that_cannot_go_on(inside, capsys, option, message):
    path = inside / "runs/first/version_0/checkpoints/last.ckpt"
    argv = [*FIT, "--name=other", "--trainer.max_epochs=3", f"--ckpt_path={path}", option]
    assert message in error(capsys, *argv)
    assert not (inside / "runs/other").exists()


def test_flipped_byte_in_a_checkpoint(inside, capsys, tmp_path):
    damaged = bytearray((inside / "runs/first/version_0/checkpoints/last.ckpt").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "x.ckpt").write_bytes(damaged)
    assert "truncated or damaged" in error(capsys, *FIT, f"--ckpt_path={tmp_path / 'x.ckpt'}")


@pytest.mark.exhaustive
def test_two_processes_train_on_shards(tmp_path, fits):
    # DDP over gloo: every rank takes its part of the samples, the metrics are of all of them.
    argv = [*FIT, "--name=ddp", "--wandb=disabled", "--trainer.devices=2", "--trainer.strategy=ddp"]
    # Lightning starts the second process from the name of the script that stands for dyc.
    done = run([*COMMAND, *argv], cwd=tmp_path, env={**os.environ, **fits.environment})
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs/ddp/version_0/checkpoints/last.ckpt").is_file()
    assert [p.name for p in (tmp_path / "runs/ddp").iterdir()] == ["version_0"]
