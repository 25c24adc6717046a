"""Accuracy: as torchmetrics counts it, and none for logits that are not finite."""

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy

from lightning_modules.accuracy import Accuracy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("top_k", [1, 5])
def test_finite_logits_are_counted_as_ever(top_k, dtype):
    logits, labels = torch.randn(64, 10).to(dtype), torch.randint(0, 10, (64,))
    logits[0, 3] = -torch.inf  # a class that is left out
    own, plain = Accuracy(10, top_k), MulticlassAccuracy(10, top_k=top_k, average="micro")
    for metric in (own, plain):
        metric.update(logits, labels)
    assert own.compute() == plain.compute() > 0


@pytest.mark.parametrize("top_k", [1, 5])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite_are_wrong_whatever_the_label(top_k, value):
    labels = torch.arange(10)
    accuracy = Accuracy(10, top_k)
    accuracy.update(torch.full((10, 10), value), labels)
    assert accuracy.compute() == 0
    logits = torch.nn.functional.one_hot(labels, 10).float()
    logits[3, 0 if value != -torch.inf else slice(None)] = value  # one of ten images
    accuracy = Accuracy(10, top_k)
    accuracy.update(logits, labels)
    assert accuracy.compute() == pytest.approx(0.9)
