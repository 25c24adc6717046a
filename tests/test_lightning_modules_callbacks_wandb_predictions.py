"""The confusion matrix and the worst predictions, as collected batch by batch."""

import torch
from torch.nn import functional

from lightning_modules.callbacks import WandbPredictions
from lightning_modules.callbacks.wandb_predictions import fewer_classes


def test_the_worst_of_all_batches_are_kept_with_their_images_as_they_were():
    mean, std = (0.5, 0.25, 0.125), (0.25, 0.5, 0.25)
    pixels = torch.randint(0, 256, (40, 3, 4, 4))
    images = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    logits, labels = 3 * torch.randn(40, 5), torch.randint(0, 5, (40,))
    callback = WandbPredictions(worst=7)
    for part in torch.arange(40).split(9):
        callback.add(logits[part], images[part], labels[part], mean, std)

    losses = functional.cross_entropy(logits, labels, reduction="none")
    expected = losses.argsort(descending=True)[:7]
    assert [each.number for each in callback._worst] == expected.tolist()
    for each in callback._worst:
        assert torch.equal(each.image, pixels[each.number].to(torch.uint8))
        assert each.label == labels[each.number]
        assert each.predicted == logits[each.number].argmax()
        probabilities = logits[each.number].softmax(0)
        found = torch.tensor([each.probability, each.of_label])
        torch.testing.assert_close(found, probabilities[[each.predicted, each.label]])
    assert torch.equal(torch.cat(callback._labels), labels.int())
    assert torch.equal(torch.cat(callback._predicted), logits.argmax(1).int())


def test_grey_images_and_a_batch_smaller_than_the_table():
    callback = WandbPredictions()
    callback.add(torch.zeros(2, 3), torch.ones(2, 1, 4, 4), torch.tensor([0, 2]), (0.0,), (1.0,))
    assert [each.image.shape for each in callback._worst] == [(1, 4, 4)] * 2
    assert {each.image.max().item() for each in callback._worst} == {255}


def test_of_many_classes_those_with_the_most_errors_are_shown():
    labels = torch.tensor([0, 1, 1, 1, 5, 7, 7])
    predicted = torch.tensor([0, 7, 7, 1, 5, 1, 3])
    shown_labels, shown_predicted, classes = fewer_classes(labels, predicted, 3)
    assert classes == [1, 7, -1]
    assert shown_labels.tolist() == [2, 0, 0, 0, 2, 1, 1]
    assert shown_predicted.tolist() == [2, 1, 1, 0, 2, 0, 2]
    assert fewer_classes(labels, predicted, 8)[2] == list(range(8))
