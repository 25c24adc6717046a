"""``dyc run``: what it plans, runs, records and refuses; the trainings' processes are fakes."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest
import torch
from PIL import Image
from support.fake_training import command, write_checkpoint
from support.forked_fits import COMMAND

from experiments import curves
from experiments.papers import catalog
from experiments.papers.catalog import find
from experiments.papers.reading import read_paper
from experiments.records import COLUMNS, Record, append, read_all
from experiments.run import settings
from experiments.run.command import held
from experiments.run.parser import PROTOCOLS
from lightning_modules.cli import main
from lightning_modules.cli.jobs.execute import Execution
from lightning_modules.cli.jobs.settings import setting, settings_of
from lightning_modules.cli.jobs.training import State, Training

PAPER = """
title: A tiny paper
source: Tiny
url: null
datasets:
  D: {set: {data.dataset: digits, data.image_size: 32, trainer.limit_train_batches: 1}}
tables:
  table1:
    source: table1
    title: Error on digits
    metrics: {top1_error: {unit: '%'}, params: {unit: M}, mIoU: {unit: '%', reason: no such data}}
    rows:
      good: {model: A, dataset: D, network: test_resnet, published: {top1_error: '4.0', params: '0.4'}}
      fail: {model: B, dataset: D, network: test_resnet, published: {top1_error: '5.0'}}
      wait: {model: B, dataset: D, network: test_resnet, quick: {note: a smaller one}, published: {top1_error: '5.0'}}
      none: {model: C, dataset: D, published: {mIoU: '50'}}
  table2:
    source: table2
    title: The same again
    metrics: {top1_accuracy: {unit: fraction}}
    rows:
      again: {model: A, dataset: D, same_as: table1/good, published: {top1_accuracy: '0.96'}}
  masks:
    source: null
    title: Masks
    status: ours
    metrics: {mIoU: {unit: '%'}, IoU_sky: {unit: '%'}}
    rows:
      mask: {model: A, dataset: D, network: test_resnet, segmentation: {head: fcn}, published: {mIoU: '', IoU_sky: ''}}
"""


TINY_COUNT = Record(
    **dict.fromkeys(COLUMNS, "")
    | {"paper": "tiny", "row": "table1/good", "metric": "params", "value": "0.4", "protocol": "count"}
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(PAPER)
    (tmp_path / "quick.yaml").write_text("trainer: {max_epochs: 2}\n")
    monkeypatch.chdir(tmp_path)
    tiny = {"tiny": read_paper(tmp_path / "tiny.yaml")}
    monkeypatch.setattr(catalog, "papers", lambda: tiny)
    monkeypatch.setattr(settings, "PROTOCOLS", tmp_path)
    monkeypatch.setattr(Training, "command", command)
    write_checkpoint(tmp_path / "runs/checkpoint", 1)
    seam = ModuleType("experiments.measure")
    seam.measure = lambda rows, how, results: seam.asked.append(([row.path for row in rows], how))
    seam.asked = []
    monkeypatch.setitem(sys.modules, "experiments.measure", seam)

    def call(*words):
        try:
            return main(["run", *words])
        except SystemExit as stop:
            return stop.code

    call.asked, call.results = seam.asked, tmp_path / "experiments/results/papers"
    return call


def trained(run):
    return [(each.row, each.metric, each.seed, each.value, each.unit) for each in read_all(run.results)]


def test_every_figure_of_a_finished_run_is_recorded_once(run, capsys):
    assert run("tiny/table1/good", "tiny/table2", "--protocol=quick", "--seeds", "0", "1", "--jobs=2") == 0
    figures = [("top1_accuracy", "0.75", "fraction"), ("top1_error", "25", "%")]
    expected = [("table1/good", metric, seed, value, unit) for seed in "01" for metric, value, unit in figures]
    assert sorted(trained(run), key=lambda each: each[2:0:-1]) == expected
    assert run.asked == [(["tiny/table1/good"], "count")]
    record = next(iter(read_all(run.results)))
    assert (record.epochs, record.protocol, record.images_per_second) == ("2", "quick", "100.5")
    assert record.command == f"dyc run tiny/table1/good --protocol quick --seeds {record.seed}"
    assert "cores" in record.hardware
    assert record.versions.startswith("torch ")
    assert float(record.wall_seconds) < 600
    capsys.readouterr()
    assert run("tiny/table1/good", "--protocol=quick", "--seeds", "0", "1") == 0
    assert "2 trainings: 2 were done before, 0 run now" in capsys.readouterr().err
    assert len(trained(run)) == 4


def test_segmentation_has_a_quick_protocol_of_its_own_and_keeps_the_iou_of_each_class(run, capsys, tmp_path):
    (tmp_path / "segmentation").mkdir()
    (tmp_path / "segmentation/quick.yaml").write_text("trainer: {max_epochs: 4}\n")
    assert run("tiny/masks/mask", "--protocol=quick", "--data=there") == 0
    assert [each[1:] for each in trained(run)] == [("mIoU", "0", "60", "%"), ("IoU_sky", "0", "90", "%")]
    epochs = curves.read("tiny", run.results)
    assert [(each.epoch, each.val_miou) for each in epochs] == [("1", "0.25"), ("2", "0.5"), ("3", "0.75"), ("4", "1")]
    folder = tmp_path / "runs/papers/tiny/masks/mask/quick/seed0/version_0"
    (folder / "pictures").mkdir()
    Image.new("RGB", (20, 10)).save(folder / "pictures/best_1.png")
    shutil.rmtree(run.results)
    assert run("tiny/masks/mask", "--protocol=quick", "--data=there") == 0
    assert [path.name for path in (run.results / "pictures/tiny/masks/mask").iterdir()] == ["quick_best.webp"]
    (folder / "test.csv").write_text("network,test/miou\nlast epoch,0.6\n")
    shutil.rmtree(run.results)
    assert run("tiny/masks/mask", "--protocol=quick", "--data=there") == 1
    assert "without IoU_sky in its test figures" in capsys.readouterr().err


def test_a_run_without_its_records_is_recorded_and_not_trained(run, monkeypatch):
    assert run("tiny/table1/good", "--protocol=quick") == 0
    before = trained(run)
    shutil.rmtree(run.results)
    monkeypatch.setattr(Training, "command", None)
    assert run("tiny/table1/good", "--protocol=quick") == 0
    assert trained(run) == before


def test_one_that_fails_is_told_and_the_others_are_run(run, capsys):
    assert run("tiny/table1/fail", "tiny/table1/good", "--protocol=quick") == 1
    assert {row for row, *_ in trained(run)} == {"table1/good"}
    assert "tiny/table1/fail seed 0 (quick): failed: ended with exit status 2" in capsys.readouterr().err


def test_damaged_records_are_named_before_anything_runs(run, capsys, monkeypatch):
    monkeypatch.setattr(Training, "command", None)
    run.results.mkdir(parents=True)
    (run.results / "other.csv").write_text("x\n")
    assert run("tiny/table1/good", "--protocol=quick") == 2
    assert "other.csv, line 1" in capsys.readouterr().err


def test_a_run_that_was_begun_with_other_settings_is_not_gone_on_with(run, capsys, tmp_path):
    assert run("tiny/table1/good", "--protocol=quick", "--data=there", "--set", "wandb=disabled") == 0
    shutil.rmtree(run.results)
    (tmp_path / "quick.yaml").write_text("trainer: {max_epochs: 3}\n")
    write_checkpoint(tmp_path / "runs/papers/tiny/table1/good/quick/seed0/version_0/checkpoints/last.ckpt", 2)
    capsys.readouterr()
    assert run("tiny/table1/good", "--protocol=quick", "--data=elsewhere") == 1
    assert "was trained with trainer.max_epochs 2 where it is 3 now; move it away" in capsys.readouterr().out
    assert trained(run) == []


def test_listings(run, capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    assert [line.split()[-3:] for line in shown.splitlines() if "tiny/table1" in line] == [["4", "3", "0"]]
    write = "tiny/table1/wait"
    write_checkpoint(Training(f"papers/{write}/quick/seed0", ()).folder / "version_0/checkpoints/last.ckpt", 1)
    assert run("tiny", "--protocol=quick", "--dry_run", "--seeds", "0", "1") == 0
    shown = capsys.readouterr().out
    rows = {tuple(line.split()[:4]): line for line in shown.splitlines()}
    assert "interrupted at epoch 1 of 2" in rows[(write, "train,", "quick", "0")]
    assert rows[("tiny/table1/good", "train,", "quick", "1")].endswith(" s")
    assert rows[("tiny/table1/none", "not", "measured", "no")].endswith("no such data")
    assert "5 new" not in shown  # wait's first seed goes on
    assert shown.endswith("\nquick: a smaller one\n\n")
    assert "to train in all" in shown
    assert trained(run) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tinny"], "'tinny' (did you mean 'tiny'?)"),
        (["tiny/table3"], "did you mean"),
        (["tiny/table1/god"], "did you mean 'good'?"),
        (["tiny", "--set", "trainer.max_epochs=1"], "trainer.max_epochs would change the recipe"),
        (["tiny", "--set", "trainer.accelerator"], "need OPTION=VALUE"),
        (["tiny", "--set", "data.dataset=torch/mnist"], "would be recorded as those of the row"),
        (["tiny", "--set", "name=mine"], "name follows from the row"),
        (["tiny", "--set", "trainer.devices=4"], "would have 512 images where the recipe has 128"),
        (["tiny", "--set", "data.batch_size=64"], "would have 64 images where the recipe has 128"),
        (["tiny", "--cluster_options", "a=1"], "needs --cluster"),
        (["tiny", "--results", "tiny.yaml"], "cannot be written"),
        (["tiny", "--runs", "tiny.yaml"], "runs: got 'tiny.yaml', which cannot be written"),
        (["tiny", "--seeds", "-1"], "seeds"),
        (["tiny", "--seeds", "4294967296"], "need an int from 0 to 4294967295"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(run, capsys, words, said):
    assert run(*words) == 2
    assert said in capsys.readouterr().err


def test_a_step_may_be_divided_among_devices(run):
    words = ("trainer.devices=2", "trainer.num_nodes=2", "data.batch_size=16", "trainer.accumulate_grad_batches=2")
    assert run("tiny/table1/good", "--protocol=quick", "--dry_run", "--set", *words) == 0


def test_a_damaged_note_of_a_run_refuses_that_run_alone(run, capsys, tmp_path):
    for row in ("good", "wait"):
        folder = tmp_path / f"runs/papers/tiny/table1/{row}/quick/seed0"
        write_checkpoint(folder / "version_0/checkpoints/last.ckpt", 1)
    (folder / "job.json").write_text("{")
    assert run("tiny/table1/wait", "tiny/table1/good", "--protocol=quick") == 1
    assert "refused: runs: " in capsys.readouterr().out
    assert {row for row, *_ in trained(run)} == {"table1/good"}


def test_what_another_process_records_is_not_recorded_twice(run, tmp_path):
    assert run("tiny/table1/good", "--protocol=quick") == 0
    shutil.rmtree(run.results)
    one = Training("papers/tiny/table1/good/quick/seed0", (), tmp_path / "runs")
    with held(one) as first, held(one) as second:
        assert (first, second) == (True, False)
    with held(Training("a", (), tmp_path / "tiny.yaml")) as unwritable:
        assert unwritable


def test_counts_that_are_there_are_told(run, capsys):
    append([TINY_COUNT], run.results)
    assert run("tiny/table1/good", "--only=count") == 0
    assert run.asked == []
    shown = capsys.readouterr().err
    assert "experiments/results/papers: 1 of the figures" in shown
    assert "--results FOLDER measures them anew" in shown


@pytest.mark.exhaustive  # five trainings
def test_a_training_that_was_killed_goes_on_and_ends_as_if_it_had_not(fits, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    python_module, real = 3, Training.command
    monkeypatch.setattr(Training, "command", lambda *args: [*COMMAND, *real(*args)[python_module:]])
    for name, value in fits.environment.items():
        monkeypatch.setenv(name, value)
    words = ("--data.dataset=digits", "--data.image_size=32", "--model.model=test_resnet", "--trainer.max_epochs=3")
    words += ("--trainer.accelerator=cpu", "--trainer.limit_train_batches=4", "--wandb=disabled")
    whole, killed = (Training(name, words, tmp_path / "runs") for name in ("whole", "killed"))
    killer = Thread(target=kill_after_an_epoch, args=(killed, fits))
    killer.start()
    outcomes = Execution([killed]).run()
    killer.join()
    assert [each.kind for each in outcomes] == ["failed"]
    assert killed.state().kind == "interrupted"
    assert [each.kind for each in Execution([killed, whole], 2).run()] == ["finished", "finished"]
    assert killed.test_figures() == whole.test_figures()
    assert sorted(killed.logged()) == [1, 2, 3]
    (killed.versions()[-1] / "test.csv").unlink()  # as where it was killed while it was tested
    assert killed.state() == State("untested", 3)
    assert [each.kind for each in Execution([killed]).run()] == ["finished"]
    assert killed.test_figures()["test/top1"] == pytest.approx(whole.test_figures()["test/top1"])


def kill_after_an_epoch(training, fits):
    # The figures of an epoch are logged after its checkpoint: killed between both, a run has the one without the other.
    while not list(training.folder.glob("version_*/checkpoints/last.ckpt")) or not training.logged():
        time.sleep(0.05)
    process = next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"--name={training.name}\0--runs={training.runs}\0".encode() in readable(path)
    )
    os.kill(fits.fork_of(process), signal.SIGKILL)


def readable(path):
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.mark.parametrize("fast", ["_is_avx512_bf16_supported", "_is_amx_tile_supported", None])
def test_quick_uses_bfloat16_where_the_processor_has_it(fast, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == fast)
    row = find("dyc/table1/cifar10/dyc")[0]
    found = {
        protocol: setting(settings_of(settings.arguments_of(row, protocol, 0)), "trainer.precision")
        for protocol in PROTOCOLS
    }
    assert found == {"full": None, "bf16": "bf16-mixed", "quick": "bf16-mixed" if fast else None}
