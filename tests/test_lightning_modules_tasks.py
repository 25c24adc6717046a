"""What commands read of the runs of each task."""

import pytest

from experiments.compare.run import Run
from experiments.compare.table import explanation, value_text
from lightning_modules.cli.jobs.training import Training, epochs_in
from lightning_modules.cli.task_option import task_of
from lightning_modules.tasks import TASKS, WATCHED, task_of_checkpoint, watched_in
from ops import ArgumentError


def test_each_task_has_a_figure_of_its_own():
    assert WATCHED == {"top1": "top-1", "miou": "mIoU"}
    assert len(WATCHED) == len(TASKS)


def test_checkpoints_of_classification_do_not_name_it():
    assert task_of_checkpoint({"hyper_parameters": {}}) == "classification"
    assert task_of_checkpoint({"hyper_parameters": {"task": "segmentation"}}) == "segmentation"


def test_the_command_line_decides_before_files_and_those_before_the_checkpoint():
    files = [{"task": "segmentation"}, {"name": "x"}]
    assert task_of(["fit"], files) == "segmentation"
    assert task_of(["fit", "--task=classification"], files) == "classification"
    assert task_of(["fit", "--task", "classification"], files) == "classification"
    assert task_of(["test", "--ckpt_path=missing.ckpt"], []) == "classification"  # what follows says that it is missing
    with pytest.raises(ArgumentError, match=r"task: got 'seg'"):
        task_of(["fit"], [{"task": "seg"}])


@pytest.mark.parametrize("figure", WATCHED)
def test_jobs_read_the_figures_of_every_task(figure, tmp_path):
    folder = tmp_path / "run/version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("trainer: {max_epochs: 2}\n")
    (folder / "metrics.csv").write_text(f"epoch,step,train/loss,val/{figure}\n0,1,,0.25\n0,1,0.5,\n")
    assert epochs_in(folder / "metrics.csv") == {1: {"train/loss": 0.5, f"val/{figure}": 0.25}}
    training = Training("run", ("--trainer.max_epochs=2",), tmp_path)
    assert training.test_figures() == {}
    (folder / "evaluations.csv").write_text(f"split,checkpoint,epoch,{figure},loss\ntest,last.ckpt,2,0.5,1.5\n")
    assert training.test_figures() == {f"test/{figure}": 0.5, "test/loss": 1.5}
    (folder / "test.csv").write_text(f"network,test/loss,test/{figure}\nlast epoch,1.0,0.75\n")
    assert training.test_figures() == {f"test/{figure}": 0.75, "test/loss": 1.0}
    assert watched_in(training.test_figures(), "test/") == figure


@pytest.mark.parametrize(
    ("trained", "found", "counts"),
    [
        ("", "plain", True),
        ("", "flip", False),
        ("{flip: true, window: null, overlap: 0.3, scales: [1.0]}", "flip", True),
        ("{flip: true}", "plain", False),
        ("{flip: true}", "", True),  # of before there was the column
    ],
)
def test_a_test_in_another_way_than_the_training_evaluates_does_not_end_it(tmp_path, trained, found, counts):
    folder = tmp_path / "run/version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"trainer: {{max_epochs: 2}}\nmodel: {{evaluation: {trained}}}\n")
    (folder / "evaluations.csv").write_text(f"split,checkpoint,epoch,evaluation,miou\ntest,last.ckpt,2,{found},0.5\n")
    training = Training("run", ("--trainer.max_epochs=2",), tmp_path)
    assert training.test_figures() == ({"test/miou": 0.5} if counts else {})


def test_comparisons_watch_what_the_task_does():
    runs = [Run("a", settings, {}, {}, "finished") for settings in ({}, {"task": "segmentation"})]
    assert [run.watched for run in runs] == ["val/top1", "val/miou"]
    assert [value_text(name, 0.5) for name in ("test/iou/car", "test/miou", "test/pixel_accuracy")] == ["50.00%"] * 3
    assert value_text("test/loss", 0.5) == "0.5"
    assert explanation("test/iou/car").endswith("best epoch: that of the highest val/miou.")
    assert explanation("test/top1").endswith("best epoch: that of the highest val/top1.")
