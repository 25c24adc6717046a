"""Masks in colours become masks of classes, and a colour that is none is never taken for the nearest one."""

import doctest

import numpy as np
import pytest
from PIL import Image

from lightning_modules.data.segmentation import colours as home
from lightning_modules.data.segmentation.colours import to_classes

COLOURS, VOID = [(0, 0, 0), (128, 0, 0), (0, 128, 0)], (224, 224, 192)


def drawn(*colours, mode="RGB"):
    return Image.fromarray(np.array([colours, colours], np.uint8)).convert(mode, palette=Image.Palette.ADAPTIVE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours(mode, masks_folder, segmentation_data):
    picture = drawn(*COLOURS, VOID, mode=mode)
    mask = to_classes(picture, COLOURS, [VOID])
    assert np.asarray(mask).tolist() == [[0, 1, 2, 255]] * 2
    assert np.array_equal(mask.convert("RGB"), picture.convert("RGB"))
    for path in masks_folder.glob("*/images/*.png"):
        picture.convert("RGB").save(path)
        mask.save(path.parents[1] / "masks" / path.name)
    data = segmentation_data(masks_folder)
    data.setup("fit")
    assert data.palette == COLOURS
    assert next(iter(data.val_dataloader()))[1][0].tolist() == [[0, 1, 2, 255]] * 2


def test_another_colour(raises):
    with raises("picture", "the colour (127, 0, 0) (2 of 4 pixels)", "only the colours of classes"):
        to_classes(drawn((0, 0, 0), (127, 0, 0)), COLOURS)


def test_its_example():
    assert doctest.testmod(home).attempted == 2
    assert doctest.testmod(home).failed == 0
