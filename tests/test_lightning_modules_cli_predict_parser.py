"""Which of its two kinds a call of ``dyc predict`` is."""

import pytest

from lightning_modules.cli.predict_parser import is_exported, of_a_data_set


@pytest.mark.parametrize(
    ("argv", "data_set"),
    [
        ([], False),
        (["last.ckpt", "images"], False),
        (["--ckpt_path=last", "images"], False),
        (["images", "--ckpt_path", "last"], False),
        (["--ckpt_path=net.onnx"], False),
        (["--ckpt_path=last", "--output=x.csv"], False),
        (["--help"], False),
        (["--ckpt_path=last"], True),
        (["--name", "x", "--ckpt_path", "best", "--runs", "y"], True),
        (["--ckpt_path=last", "--data.predict_folder", "images"], True),
        (["--config", "x.yaml", "--ckpt_path=last"], True),
        (["-c", "x.yaml", "--help"], True),
        (["--wandb", "disabled", "--ckpt_path=last"], True),
        (["--trainer", "x.yaml", "--ckpt_path=last"], True),
    ],
)
def test_without_images_they_are_those_of_the_data_set(argv, data_set):
    assert of_a_data_set(argv) == data_set


def test_last_and_best_are_checkpoints_whatever_folders_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("best", "last", "weights"):
        (tmp_path / name).mkdir()
    assert [is_exported(name) for name in ("best", "last", "weights", "none")] == [False, False, True, False]
