"""Masks that are predicted, as files."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from PIL import Image

from lightning_modules.callbacks import MaskFiles

MODULE = SimpleNamespace(ignore_index=255)


def trainer_of(images, sizes, told=False):
    """Return as much of a trainer as is asked."""
    data = SimpleNamespace(predict_items=lambda: images, predict_sizes=lambda: sizes, palette=[(1, 2, 3), (4, 5, 6)])
    loop = SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False))
    return SimpleNamespace(datamodule=data, received_sigterm=told, predict_loop=loop, precision="16-true")


def test_a_file_for_each_image_with_the_colours_of_the_classes(tmp_path):
    trainer = trainer_of(["a/1.png", "b/1.jpg", "b/2.jpg"], [(4, 5)] * 3)
    files = MaskFiles(tmp_path / "predictions")
    files.on_predict_start(trainer, MODULE)
    masks = torch.randint(0, 2, (3, 4, 5))
    for part in masks.split(2):
        files.write_on_batch_end(trainer, MODULE, part, None, None, 0, 0)
    written = sorted(path.name for path in files.path.iterdir())
    assert written == ["000000_1.png", "000001_1.png", "2.png"]  # two images have the same name
    for name, mask in zip(written, masks):
        image = Image.open(files.path / name)
        assert np.array_equal(np.asarray(image), mask)
        assert np.array_equal(np.asarray(image.convert("RGB")), np.array(trainer.datamodule.palette)[mask])
    assert files.not_finite == 0


def test_masks_have_the_size_of_the_image_s_file(tmp_path):
    trainer = trainer_of(["1.png"], [(4, 6)])
    files = MaskFiles(tmp_path)
    files.on_predict_start(trainer, MODULE)
    files.write_on_batch_end(trainer, MODULE, torch.tensor([[[0, 1, 0], [1, 1, 0]]]), None, None, 0, 0)
    rows = [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert np.asarray(Image.open(tmp_path / "1.png")).tolist() == [rows[0], rows[0], rows[1], rows[1]]


def test_pixels_without_a_class_are_void_and_counted(tmp_path, capsys):
    trainer = trainer_of(["1.png", "2.png"], [(1, 2)] * 2)
    files = MaskFiles(tmp_path)
    files.on_predict_start(trainer, MODULE)
    files.write_on_batch_end(trainer, MODULE, torch.tensor([[[0, 255]], [[0, 1]]]), None, None, 0, 0)
    files.on_predict_end(trainer, MODULE)
    image = Image.open(tmp_path / "1.png")
    assert np.asarray(image).tolist() == [[0, 255]]
    assert np.asarray(image.convert("RGB")).tolist() == [[[1, 2, 3], [255, 255, 255]]]
    assert capsys.readouterr().err == (
        "1 of 2 images have pixels without a class, as their logits are not finite: the network, or its precision "
        "(16-true), is the reason\n"
    )


def test_a_signal_ends_it_after_a_batch(tmp_path, capsys):
    trainer = trainer_of(["1.png", "2.png"], [(1, 2)] * 2, told=True)
    files = MaskFiles(tmp_path)
    files.on_predict_start(trainer, MODULE)
    with pytest.raises(SIGTERMException):
        files.write_on_batch_end(trainer, MODULE, torch.tensor([[[0, 1]]]), None, None, 0, 0)
    assert capsys.readouterr().out == f"interrupted; {tmp_path} has the first 1 images\n"
    assert (tmp_path / "1.png").is_file()
