"""Correlations of channels: numpy's, whatever the batches, and without those of constant channels."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

import dyc  # noqa: F401  (registers the networks)
from dyc.analysis.correlation import ChannelCorrelation, bin_shares, channel_correlation, second_last_stage
from ops import ArgumentError


def features(offset=0.0):
    torch.manual_seed(0)
    x = torch.randn(11, 4, 3, 5, dtype=torch.float64)
    return torch.cat([x, x[:, :2] - 2 * x[:, 2:4], -3 * x[:, :1]], 1) + offset


@pytest.mark.parametrize("offset", [0.0, 1e5], ids=["centred", "with_a_large_mean"])
@pytest.mark.parametrize("batch", [1, 4, 11])
def test_it_is_numpys_whatever_the_batches(batch, offset):
    x = features(offset)
    found = ChannelCorrelation(7)
    for each in x.split(batch):
        found.update(each)
    expected = np.corrcoef(features().transpose(0, 1).flatten(1).numpy())
    np.testing.assert_allclose(found.correlation().numpy(), expected, atol=1e-9)
    assert found.count == 11 * 15


def test_float32_features_with_a_large_mean_lose_no_more_than_their_own_rounding():
    x = features(1000).float()
    found = ChannelCorrelation(7)
    for each in x.split(3):
        found.update(each)
    expected = np.corrcoef(x.double().transpose(0, 1).flatten(1).numpy())
    np.testing.assert_allclose(found.correlation().numpy(), expected, atol=1e-12)


class Branch(nn.Module):
    """Puts given factors on the one channel of its input, so that the channels are perfectly correlated."""

    def __init__(self, *factors):
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors)[:, None, None])

    def forward(self, x):
        return x * self.factors + 0.1


def test_constant_channels_are_named_and_left_out():
    model = nn.Sequential(Branch(1.0, 0.0, -2.0, 0.0), nn.Flatten()).train()
    found = channel_correlation(model, "0", torch.randn(6, 1, 4, 4).split(2))
    assert found.dead == (1, 3)
    assert found.alive == (0, 2)
    assert found.pairs.tolist() == pytest.approx([-1])
    assert (found.images, found.observations) == (6, 96)
    assert found.bins()["strong"] == 1
    assert model.training


def test_one_loud_image_decides_unless_all_are_equal():
    torch.manual_seed(0)
    x = torch.randn(50, 2, 4, 4)
    x[7] = 100 * torch.randn(1, 4, 4)  # both channels alike
    model = nn.Sequential(nn.Identity())
    loud, equal = (channel_correlation(model, "0", x.split(16), equal) for equal in (False, True))
    assert loud.pairs.item() > 0.95
    assert abs(equal.pairs.item()) < 0.15
    assert loud.loudest == equal.loudest > 50


@pytest.mark.parametrize(
    ("layer", "factors", "message"),
    [
        ("0", (1.0, 0.0), "fewer than two channels vary"),
        ("0", (1.0, float("nan")), "are not finite"),
        ("1", (1.0, 2.0), "need a layer whose output is feature maps"),
        ("2", (1.0, 2.0), "layer: got '2'"),
    ],
)
def test_what_cannot_be_correlated_is_one_line(layer, factors, message):
    model = nn.Sequential(Branch(*factors), nn.Flatten())
    with pytest.raises(ArgumentError, match=message):
        channel_correlation(model, layer, [torch.randn(2, 1, 3, 3)])


def test_an_edge_belongs_to_the_stronger_bin():
    pairs = torch.tensor([0.0, 0.19, -0.2, 0.3, 0.5, -0.5, -1.0, 0.9], dtype=torch.float64)
    assert bin_shares(pairs, (0.2, 0.5, 0.9)) == {"none": 0.25, "weak": 0.25, "middle": 0.25, "strong": 0.25}
    for edges in [(0.2, 0.1, 0.5), (0.0, 0.1, 0.2), (0.1, 0.2)]:
        with pytest.raises(ArgumentError, match="three rising numbers"):
            bin_shares(pairs, edges)


@pytest.mark.parametrize(
    ("name", "layer"), [("mobilenetv2_cifar", "blocks.4"), ("dynet_mobile_100", "blocks.4"), ("resnet18", "layer3")]
)
def test_the_usual_layer_is_the_second_last_stage(name, layer):
    assert second_last_stage(timm.create_model(name)) == layer
    with pytest.raises(ArgumentError, match="name it"):
        second_last_stage(nn.Sequential(nn.Conv2d(3, 3, 1)))
