"""Learning curves that are kept beside the records."""

import pytest
from support.run_folders import write_run

from experiments import curves
from experiments.curves import Epoch, append, epochs_of
from experiments.papers import find
from experiments.run.keep import keep
from experiments.run.plan import Item
from lightning_modules.cli.jobs.training import Training
from ops import ArgumentError

VALUES = {"train/loss": {1: 2.0, 2: 1.0}, "val/top1": {2: 0.123456}, "attention/entropy/one": {1: 0.5}}


def test_what_is_not_known_is_empty_and_a_training_is_kept_once(tmp_path):
    epochs = epochs_of("t/r", "0", "quick", VALUES)
    assert epochs == [Epoch("t/r", "0", "quick", "1", "2"), Epoch("t/r", "0", "quick", "2", "1", "0.12346")]
    for seed in ("0", "1", "0"):
        append("p", epochs_of("t/r", seed, "quick", VALUES), tmp_path)
    assert [each.seed for each in curves.read("p", tmp_path)] == ["0", "0", "1", "1"]
    assert curves.read("other", tmp_path) == []


def test_a_damaged_file_is_named_with_its_line_and_left_alone(tmp_path):
    append("p", epochs_of("t/r", "0", "quick", VALUES), tmp_path)
    path = tmp_path / "curves/p.csv"
    path.write_text(path.read_text() + "t/r,1,quick,first,,,,,,\n")
    before = path.read_text()
    for call in (
        lambda: curves.read("p", tmp_path),
        lambda: append("p", epochs_of("t/r", "2", "quick", VALUES), tmp_path),
    ):
        with pytest.raises(ArgumentError, match=r"p\.csv, line 4: could not convert"):
            call()
    assert path.read_text() == before


OLDER = """row,seed,protocol,epoch,train_loss,val_top1,temperature,entropy,images_per_second
segmentation/camvid/static,0,quick,1,1.5,0.25,,,6
table1/gone,0,quick,1,1.5,0.5,30,0.9,7
"""


def test_an_older_file_with_the_miou_among_the_accuracies_is_read_and_added_to(tmp_path):
    path = tmp_path / "curves/own.csv"
    path.parent.mkdir()
    path.write_text(OLDER)
    first = Epoch("segmentation/camvid/static", "0", "quick", "1", "1.5", val_miou="0.25", images_per_second="6")
    other = Epoch("table1/gone", "0", "quick", "1", "1.5", "0.5", "", "30", "0.9", "7")
    assert curves.read("own", tmp_path) == [first, other]
    assert path.read_text() == OLDER
    new = epochs_of("segmentation/camvid/dyc", "0", "quick", {"val/miou": {1: 0.375}})
    assert new == [Epoch("segmentation/camvid/dyc", "0", "quick", "1", val_miou="0.375")]
    append("own", new, tmp_path)
    assert path.read_text().splitlines() == [
        "row,seed,protocol,epoch,train_loss,val_top1,val_miou,temperature,entropy,images_per_second",
        "segmentation/camvid/static,0,quick,1,1.5,,0.25,,,6",
        "table1/gone,0,quick,1,1.5,0.5,,30,0.9,7",
        "segmentation/camvid/dyc,0,quick,1,,,0.375,,,",
    ]
    assert curves.read("own", tmp_path) == [first, other, *new]


def test_an_older_file_that_is_damaged_is_left_alone(tmp_path):
    path = tmp_path / "curves/own.csv"
    path.parent.mkdir()
    path.write_text(OLDER + "t/r,1,quick,1,,,,,,\n")
    with pytest.raises(ArgumentError, match=r"own\.csv, line 4: 10 cells, not 9"):
        append("own", epochs_of("t/r", "2", "quick", VALUES), tmp_path)
    assert path.read_text().endswith("t/r,1,quick,1,,,,,,\n")


def test_a_finished_training_leaves_figures_size_and_curves_of_all_its_parts(tmp_path):
    row = find("dyc/table1/cifar10/dyc")[0]
    training = Training("run", ("--trainer.max_epochs=4",), tmp_path / "runs")
    write_run(training.runs, "run", val=(0.5, 0.6), test=None, dynamic=True)
    last = write_run(training.runs, "run", val=(0.7, 0.8), test=0.75, dynamic=True, version=1, first=2)
    (last / "config.yaml").write_text("trainer: {max_epochs: 4}\n")
    item = Item(row, "train", "quick", tuple(row.figures.values()), "not recorded", 3, training)
    kept = {record.metric: (record.value, record.unit, record.seed) for record in keep(item, tmp_path)}
    assert kept == {
        "top1_accuracy": ("0.75", "fraction", "3"),
        "parameters": ("2000", "count", "3"),
        "macs": ("30000", "MACs", "3"),
    }
    found = curves.read("dyc", tmp_path)
    assert [(each.row, each.seed, each.protocol) for each in found] == 4 * [("table1/cifar10/dyc", "3", "quick")]
    assert [each.val_top1 for each in found] == ["0.5", "0.6", "0.7", "0.8"]
    assert [each.temperature for each in found] == ["30", "20", "10", "0"]
    assert [each.images_per_second for each in found] == ["100", "101", "102", "103"]
    assert keep(item, tmp_path) == []
