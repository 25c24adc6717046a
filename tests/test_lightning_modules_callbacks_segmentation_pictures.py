"""Which segmented images are drawn, and what the pictures show."""

import numpy as np
import torch
from torch.nn import functional as F

from lightning_modules.callbacks import SegmentationPictures
from lightning_modules.segmentation.drawing import WRONG, draw_row

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def test_the_best_and_the_worst_images_of_all_batches_are_kept():
    pictures = SegmentationPictures(None, count=1)
    truth = torch.tensor([0, 0, 1, 1]).expand(5, 3, 4).clone()
    guesses = truth.clone()
    guesses[0, :2], guesses[2], guesses[3, 0] = 0, 1 - truth[2], 0  # of images 1 and 4, all is right
    truth[4] = 255  # nothing to measure
    logits = F.one_hot(guesses, 2).permute(0, 3, 1, 2).float()
    images = torch.linspace(-2, 2, 5)[:, None, None, None].expand(5, 3, 3, 4)
    for part in (slice(0, 2), slice(2, 5)):
        pictures.add(logits[part], images[part], truth[part], MEAN, STD, 255)
    assert [(each.number, each.miou) for each in pictures._kept] == [(1, 1.0), (2, 0.0)]
    best = pictures._kept[0]
    assert best.image.unique().tolist() == [64]  # -1 of 0.25 below 0.5
    assert torch.equal(best.predicted, guesses[1].byte())


def test_wrong_pixels_stand_out_and_those_without_a_class_do_not():
    image = torch.full((40, 60, 3), 90, dtype=torch.uint8)
    truth, predicted = torch.zeros(40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8)
    predicted[:, :30] = 1
    truth[:, :15] = 255

    def orange(mask):
        shown = np.asarray(
            draw_row(image, mask, predicted, ["a", "b"], [(0, 0, 0), (0, 0, 255)], "title").convert("RGB")
        )
        return (shown == WRONG).all(2)[60:-60, -280:].mean()  # in the last panel

    assert 0.15 < orange(truth) < 0.3
    assert 0.4 < orange(torch.zeros_like(truth)) < 0.6
    assert orange(predicted) == 0
