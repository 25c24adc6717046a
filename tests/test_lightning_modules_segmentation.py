"""What a segmentation is measured by: figures, loss, and what several views of an image give."""

import math

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch.nn import functional as F

from lightning_modules import EvaluationSettings
from lightning_modules.segmentation.loss import pixel_loss
from lightning_modules.segmentation.scores import PixelScores
from lightning_modules.segmentation.views import by_windows, segment
from ops import ArgumentError


def logits_of(masks, classes):
    return F.one_hot(masks, classes).permute(0, 3, 1, 2).float()


def test_scores_are_those_of_scikit_learn_without_void():
    truth, predicted = torch.randint(0, 4, (3, 8, 9)), torch.randint(0, 4, (3, 8, 9))
    truth[:, :2] = 255
    scores = PixelScores(4)
    for mask, guess in zip(truth.split(2), predicted.split(2)):  # batches of different sizes
        scores.update(logits_of(guess, 4), mask, 255)
    found = scores.compute()
    kept = truth != 255
    want = torch.tensor(jaccard_score(truth[kept], predicted[kept], average=None)).float()
    torch.testing.assert_close(found["iou"], want)
    torch.testing.assert_close(found["miou"], want.mean())
    torch.testing.assert_close(found["pixel_accuracy"], (truth[kept] == predicted[kept]).float().mean())


def test_a_class_that_is_nowhere_is_left_out_and_one_that_is_missed_or_invented_counts_as_0():
    scores = PixelScores(5)
    truth = torch.tensor([[[0, 0, 1, 1]]])
    scores.update(logits_of(torch.tensor([[[0, 0, 2, 0]]]), 5), truth, 255)
    found = scores.compute()
    assert found["iou"].isnan().tolist() == [False, False, False, True, True]
    assert found["iou"][:3].tolist() == pytest.approx([2 / 3, 0, 0])
    assert float(found["miou"]) == pytest.approx(2 / 9)


def test_logits_that_are_not_finite_are_wrong():
    scores = PixelScores(3)
    scores.update(torch.full((1, 3, 2, 2), math.nan), torch.zeros(1, 2, 2, dtype=torch.long), 255)
    assert float(scores.compute()["pixel_accuracy"]) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_pytorch_s_but_for_batches_without_classes(weighted):
    logits, masks = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(0, 3, (2, 4, 5))
    masks[0, 0] = 9
    weight = torch.tensor([0.5, 2.0, 0.0]) if weighted else None
    want = F.cross_entropy(logits, masks, weight, ignore_index=9)
    torch.testing.assert_close(pixel_loss(logits, masks, 9, weight), want)
    nothing = pixel_loss(logits, torch.full_like(masks, 9), 9, weight)
    nothing.backward()
    assert nothing == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_windows_cover_every_pixel_and_are_averaged():
    images = torch.rand(2, 3, 13, 17)

    def net(part):
        assert part.shape[-2:] == (6, 8)
        return part * 3  # of each pixel alone: windows change nothing

    torch.testing.assert_close(by_windows(net, images, (6, 8), 0.5), (images * 3).softmax(1))
    torch.testing.assert_close(by_windows(lambda x: x, images, (40, 40), 0.5), images.softmax(1))


def test_a_mirrored_view_is_mirrored_back():
    images = torch.rand(1, 3, 6, 8)
    flipped = segment(lambda x: x * 2, images, EvaluationSettings(flip=True))
    torch.testing.assert_close(flipped.softmax(1), (images * 2).softmax(1))
    ramp = torch.linspace(0, 1, 8).expand(1, 2, 6, 8)  # a network that answers by position
    answers = segment(lambda x: torch.stack((x[:, 0], ramp[:, 0]), 1), images, EvaluationSettings(flip=True))
    both = [torch.stack((images[:, 0], r), 1).softmax(1) for r in (ramp[:, 0], ramp[:, 0].flip(-1))]
    torch.testing.assert_close(answers.softmax(1), sum(both) / 2)


def test_scales():
    sizes = []

    def net(x):
        sizes.append(tuple(x.shape[-2:]))
        return x

    found = segment(net, torch.full((1, 3, 8, 12), 0.5), EvaluationSettings(scales=[0.5, 1.0, 1.5], window=10))
    assert set(sizes) == {(4, 6), (8, 10), (10, 10)}
    torch.testing.assert_close(found.exp(), torch.full((1, 3, 8, 12), 1 / 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": [8, 8, 8]}, r"model.evaluation.window: got \[8, 8, 8\]; need one or two whole numbers"),
        ({"overlap": 1.0}, "model.evaluation.overlap: got 1.0; need a share"),
        ({"scales": []}, "model.evaluation.scales: got .*; need one positive factor or more"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ArgumentError, match=message):
        EvaluationSettings(**settings)
