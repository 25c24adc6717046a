"""Weights of the classes, as the papers define them."""

import math

import pytest
import torch

from lightning_modules.data.segmentation.class_weights import enet, median_frequency

COUNTS = torch.tensor([[60, 40, 0, 0], [20, 0, 20, 0]])
"""Pixels of four classes in two images, of 100 and 40 pixels that are not void; the last class never occurs."""


def test_median_frequency():
    # 80 of the 140 pixels of both images, 40 of the first one's 100, 20 of the second one's 40.
    frequencies = [80 / 140, 40 / 100, 20 / 40]
    assert median_frequency(COUNTS).tolist() == pytest.approx([0.5 / f for f in frequencies] + [0.0])
    # Of an even number, the median is the mean of the two in the middle.
    frequencies = [80 / 120, 40 / 100]
    middle = sum(frequencies) / 2
    assert median_frequency(COUNTS[:, :2]).tolist() == pytest.approx([middle / f for f in frequencies])


def test_enet():
    shares = [80 / 140, 40 / 140, 20 / 140, 0]
    assert enet(COUNTS).tolist() == pytest.approx([1 / math.log(1.02 + share) for share in shares])


def test_those_of_the_data(masks_folder, write_pair, segmentation_data, raises):
    # Two images of classes 0, 1, 2 and void alike; two of class 0 alone.
    for i in range(2):
        write_pair(masks_folder / f"train/images/{i}.png", masks_folder / f"train/masks/{i}.png", (0,))
    data = segmentation_data(masks_folder)
    data.setup("fit")
    pixels = 12 * 16
    frequencies = [(2 * pixels + 2 * pixels / 4) / (2 * pixels + 2 * pixels * 3 / 4), 1 / 3, 1 / 3]
    assert data.class_weights().tolist() == pytest.approx([1 / 3 / f for f in frequencies])
    total = 2 + 2 * 3 / 4
    shares = [2.5 / total, 0.5 / total, 0.5 / total]
    assert data.class_weights("enet").tolist() == pytest.approx([1 / math.log(1.02 + share) for share in shares])
    with raises("method", "'median' (did you mean 'median_frequency'?)", "'enet'"):
        data.class_weights("median")


def test_what_is_held_out_does_not_count(masks_folder, write_pair, segmentation_data):
    for split in ("val", "test"):
        (masks_folder / split).rename(masks_folder.parent / split)
    data = segmentation_data(masks_folder, val_fraction=0.25)
    data.setup("fit")
    (held,) = data.names("val")
    before = data.class_weights()
    write_pair(masks_folder / "a.png", masks_folder / "train/masks" / held.rsplit("/", 1)[1], (0, 0, 0, 1, 2))
    again = segmentation_data(masks_folder, val_fraction=0.25)
    again.setup("test")
    assert again.names("val") == [held]
    assert torch.equal(again.class_weights(), before)


@pytest.mark.parametrize("method", ["median_frequency", "enet"])
def test_a_class_that_is_void_does_not_count(masks_folder, segmentation_data, method):
    data = segmentation_data(masks_folder, num_classes=3, void=[2, 255])
    data.setup("fit")
    found = data.class_weights(method)
    without = {"median_frequency": [1.0, 1.0, 0.0], "enet": [1 / math.log(1.52)] * 2 + [1 / math.log(1.02)]}
    assert found.tolist() == pytest.approx(without[method])
