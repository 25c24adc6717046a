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


def test_the_loss_of_many_pixels_is_finite_in_float16():
    logits = torch.zeros(1, 3, 300, 300, dtype=torch.float16)
    assert float(pixel_loss(logits, torch.zeros(1, 300, 300, dtype=torch.long), 255)) == pytest.approx(math.log(3))


def test_windows_cover_every_pixel_and_are_averaged():
    tops, lefts, height, width = (0, 1, 2), (0, 2, 4, 5), 2, 4  # half overlap, the last window at the border
    answer = torch.randn(2, height, width)  # by the position in the window, whatever the image shows
    total, seen = torch.zeros(2, 4, 9), torch.zeros(4, 9)
    for top in tops:
        for left in lefts:
            total[:, top : top + height, left : left + width] += answer.softmax(0)
            seen[top : top + height, left : left + width] += 1
    found = by_windows(lambda part: answer.expand(len(part), 2, height, width), torch.rand(3, 3, 4, 9), (2, 4), 0.5)
    torch.testing.assert_close(found, (total / seen).expand(3, 2, 4, 9))
    images = torch.rand(2, 3, 4, 9)
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
    def shares(values):
        return torch.tensor(values, dtype=torch.float32).sigmoid()

    ramp = torch.tensor([0.0, 4, 8, 12]).expand(3, 4)
    images = torch.stack((ramp, torch.zeros_like(ramp)))[None]
    found = segment(lambda x: x, images, EvaluationSettings(scales=[1.0, 2.0])).exp()
    larger = shares([0, 1, 3, 5, 7, 9, 11, 12]).view(4, 2).mean(1)
    want = (shares([0, 4, 8, 12]) + larger) / 2
    torch.testing.assert_close(found[0, 0], want.expand(3, 4))


def test_windows_of_every_scale():
    sizes = []
    segment(
        lambda x: sizes.append(x.shape[-2:]) or x, torch.rand(1, 3, 8, 12), EvaluationSettings(10, 0, [0.5, 1, 1.5])
    )
    assert set(sizes) == {(4, 6), (8, 10), (10, 10)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_smaller_sizes_in_every_precision(dtype):
    images = torch.rand(1, 3, 8, 12)
    settings = EvaluationSettings(scales=[0.5])

    def net(x):
        assert x.dtype == dtype
        return x

    found, want = segment(net, images.to(dtype), settings), segment(lambda x: x, images, settings)
    torch.testing.assert_close(found.float(), want, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "plain"),
        ({"window": 512, "scales": [0.75, 1], "flip": True}, "window 512 (overlap 0.33), scales 0.75 1, flip"),
        ({"window": [512, 1024], "overlap": 0}, "window 512 x 1024 (overlap 0)"),
    ],
)
def test_settings_in_a_table(settings, text):
    assert str(EvaluationSettings(**settings)) == text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": [8, 8, 8]}, r"model.evaluation.window: got \[8, 8, 8\]; need one or two whole numbers"),
        ({"window": math.nan}, "model.evaluation.window: got nan; need one or two whole numbers"),
        ({"window": [8, math.inf]}, r"model.evaluation.window: got \[8, inf\]; need one or two whole numbers"),
        ({"overlap": math.nan}, "model.evaluation.overlap: got nan; need a share"),
        ({"overlap": math.inf}, "model.evaluation.overlap: got inf; need a share"),
        ({"scales": [1.0, math.nan]}, "model.evaluation.scales: got .*; need one positive factor or more"),
        ({"scales": [math.inf]}, "model.evaluation.scales: got .*; need one positive factor or more"),
        ({"overlap": 1.0}, "model.evaluation.overlap: got 1.0; need a share"),
        ({"scales": []}, "model.evaluation.scales: got .*; need one positive factor or more"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ArgumentError, match=message):
        EvaluationSettings(**settings)
