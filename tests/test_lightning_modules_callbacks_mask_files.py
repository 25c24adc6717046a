"""Masks that are predicted, as files."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from lightning_modules.callbacks import MaskFiles


def test_a_file_for_each_image_with_the_colours_of_the_classes(tmp_path):
    data = SimpleNamespace(predict_items=lambda: ["a/1.png", "b/1.jpg", "b/2.jpg"], palette=[(1, 2, 3), (4, 5, 6)])
    trainer = SimpleNamespace(datamodule=data)
    files = MaskFiles(tmp_path / "predictions")
    files.on_predict_start(trainer, None)
    masks = torch.randint(0, 2, (3, 4, 5))
    for part in masks.split(2):
        files.write_on_batch_end(trainer, None, part, None, None, 0, 0)
    written = sorted(path.name for path in files.path.iterdir())
    assert written == ["000000_1.png", "000001_1.png", "2.png"]  # two images have the same name
    for name, mask in zip(written, masks):
        image = Image.open(files.path / name)
        assert np.array_equal(np.asarray(image), mask)
        assert np.array_equal(np.asarray(image.convert("RGB")), np.array(data.palette)[mask])
