"""What is recorded of an evaluation, and what is said of its checkpoint."""

import csv
from pathlib import Path

import torch

from lightning_modules.cli.evaluations import describe_checkpoint, record_evaluation


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_checkpoint_that_is_in_no_run_is_recorded_beside_it_if_that_can_be_written(tmp_path):
    facts = {"split": "test", "checkpoint": "x.ckpt", "top1": 0.5}
    assert record_evaluation(tmp_path / "x.ckpt", facts) == f"written to {tmp_path / 'evaluations.csv'}"
    assert rows(tmp_path / "evaluations.csv")[0]["top1"] == "0.5"
    gone = tmp_path / "gone" / "x.ckpt"
    assert (
        record_evaluation(gone, facts)
        == f"not written to {gone.parent / 'evaluations.csv'} (No such file or directory)"
    )


def test_what_a_table_of_evaluations_has_no_column_for_gets_one(tmp_path):
    path, said = tmp_path / "evaluations.csv", f"written to {tmp_path / 'evaluations.csv'}"
    path.write_bytes('time,split,data,miou\r\nt1,val,"a, ü",0.5\r\n'.encode() + b"t2,test,\xff,0.4\r\n")
    assert (
        record_evaluation(tmp_path / "x.ckpt", {"split": "val", "evaluation": "flip", "miou": 0.6, "iou/a": 1}) == said
    )
    assert record_evaluation(tmp_path / "x.ckpt", {"split": "test", "miou": 0.7}) == said
    first, old, other, new, last = path.read_bytes().splitlines()
    assert first == b"time,split,evaluation,data,miou,iou/a"
    assert old.decode() == 't1,val,,"a, ü",0.5,'
    assert other == b"t2,test,,\xff,0.4,"
    assert new.endswith(b",val,flip,,0.6,1")
    assert last.endswith(b",test,,,0.7,")
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_checkpoint_chosen_by_something_else_says_by_what():
    state = {"monitor": "val/loss", "best_model_path": "a/low.ckpt", "best_model_score": torch.tensor(0.25)}
    checkpoint = {"hyper_parameters": {"model": "resnet18"}, "epoch": 4, "global_step": 90, "callbacks": {"x": state}}
    assert describe_checkpoint(Path("b/low.ckpt"), checkpoint).endswith("of epoch 5, step 90; the best by val/loss")
    assert describe_checkpoint(Path("b/last.ckpt"), checkpoint).endswith("resnet18 of epoch 5, step 90")
    checkpoint["hyper_parameters"] |= {"dynamic": {"attention": "dy", "where": "blocks"}, "selective": {}}
    assert "resnet18 (dy, blocks) (selective) of epoch" in describe_checkpoint(Path("b/last.ckpt"), checkpoint)
