"""Attention by layer, class and image, where it is known what the weights are."""

import pytest
import torch
from torch import nn

import dyc
from dyc.analysis.attention_usage import attention_usage
from ops import ArgumentError


class FromPixels(nn.Module):
    """Attention that stands in the first pixel of every channel."""

    def __init__(self, channels=None):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        weights = x[:, :, 0, 0]
        return weights if self.channels is None else weights[..., None].expand(-1, -1, self.channels)


def usage(weights, labels, classes=2, keep=2, channels=None, batch=3):
    layer = dyc.DynamicConv2d(weights.shape[1], 5, 1, num_kernels=weights.shape[1], attention=FromPixels(channels))
    x = weights[:, :, None, None].expand(-1, -1, 2, 2)
    return attention_usage(nn.Sequential(layer), zip(x.split(batch), labels.split(batch)), classes, keep)["0"]


@pytest.mark.parametrize("channels", [None, 5], ids=["per_kernel", "per_channel"])
def test_one_kernel_for_each_class(channels):
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    found = usage(torch.eye(2)[labels], labels, channels=channels)
    assert found.entropy == pytest.approx(0)
    assert found.channels == (channels or 1)
    assert found.class_share == pytest.approx(1)
    assert found.classes.tolist() == [[1, 0], [0, 1]]
    assert found.kernels.tolist() == pytest.approx([4 / 7, 3 / 7])
    assert found.variation == pytest.approx((4 / 7 * 3 / 7) ** 0.5)
    assert set(found.top[1].tolist()) <= {1, 3, 4}


def test_uniform_attention():
    found = usage(torch.full((6, 4), 0.25), torch.tensor([0, 1, 0, 1, 0, 1]))
    assert (found.entropy, found.variation, found.class_share) == (pytest.approx(1), pytest.approx(0), 0)


def test_attention_that_knows_nothing_of_the_classes_has_no_share_of_theirs():
    torch.manual_seed(0)
    weights, labels = torch.rand(600, 3).softmax(1), torch.arange(600) % 100
    found = usage(weights, labels, classes=101, batch=64)
    assert found.class_share < 0.05  # by chance, six images of a class would explain a sixth
    assert found.classes[100].isnan().all()  # a class without images
    assert torch.allclose(found.classes[7], weights[labels == 7].double().mean(0))


def test_the_images_that_use_a_kernel_most_are_found_across_batches():
    weights = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.95, 0.05], [0.5, 0.5]])
    found = usage(weights, torch.zeros(5, dtype=torch.long), keep=3, batch=2)
    assert found.top.tolist() == [[3, 1, 4], [0, 2, 4]]
    assert found.top_weights[0].tolist() == pytest.approx([0.95, 0.8, 0.5])


def test_a_static_network_and_no_images_are_one_line():
    with pytest.raises(ArgumentError, match="no dynamic layers"):
        attention_usage(nn.Sequential(nn.Conv2d(3, 3, 1)), [], 2)
    with pytest.raises(ArgumentError, match="images: there are none"):
        attention_usage(dyc.DynamicConv2d(3, 3, 1), [], 2)
