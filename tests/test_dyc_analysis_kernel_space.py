"""Kernels and mixtures in a plane, where both are known."""

import pytest
import torch
from torch import nn

import dyc
from dyc.analysis.kernel_space import hull, kernel_plane
from ops import ArgumentError


class FromPixels(nn.Module):
    def forward(self, x):
        return x[:, :, 0, 0]


def plane(weights, kernels, **options):
    count, size = kernels.shape
    layer = dyc.DynamicConv2d(count, size, 1, groups=1, bias=False, num_kernels=count, attention=FromPixels())
    with torch.no_grad():
        layer.weight.copy_(kernels[:, :, None, None, None] / count**0.5)  # the same for all input channels
    x = weights[:, :, None, None].expand(-1, -1, 2, 2)
    batches = [(x[:2], torch.zeros(2)), (x[2:], torch.ones(len(x) - 2))]
    return kernel_plane(nn.Sequential(layer), "0", batches, **options)


TRIANGLE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def test_kernels_of_two_numbers_keep_their_distances():
    found = plane(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]]), TRIANGLE)
    assert torch.allclose(torch.cdist(found.kernels, found.kernels), torch.cdist(TRIANGLE, TRIANGLE).double())
    assert sum(found.explained) == pytest.approx(1)
    assert torch.allclose(found.mixtures[:3], found.kernels)
    assert torch.allclose(found.mixtures[3], (found.kernels[0] + found.kernels[1]) / 2)
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_spread_is_one_where_each_image_has_a_kernel_of_its_own_and_zero_where_all_have_the_same():
    assert plane(torch.eye(3), TRIANGLE).spread == pytest.approx(1)
    average = plane(torch.full((4, 3), 1 / 3), TRIANGLE)
    assert average.spread == pytest.approx(0, abs=1e-6)
    assert average.mixtures.abs().max() < 1e-6  # the average kernel is the origin


def test_one_channel():
    found = plane(torch.eye(3), TRIANGLE, channel=1)
    assert found.kernels[:, 0].abs().sort().values.tolist() == pytest.approx([4 / 3, 4 / 3, 8 / 3])
    assert found.explained == pytest.approx((1, 0))
    with pytest.raises(ArgumentError, match="channel: got 2"):
        plane(torch.eye(3), TRIANGLE, channel=2)


def test_other_layers_are_one_line():
    with pytest.raises(ArgumentError, match="which is not dynamic"):
        kernel_plane(nn.Sequential(nn.Conv2d(1, 1, 1)), "0", [])
    with pytest.raises(ArgumentError, match="which has 2 kernels"):
        kernel_plane(nn.Sequential(dyc.DynamicConv2d(1, 1, 1, num_kernels=2)), "0", [])


def test_points_inside_are_no_corners():
    points = torch.tensor([[1.0, 1.0], [0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [2.0, 0.0]])
    assert {tuple(corner) for corner in hull(points).tolist()} == {(0, 0), (4, 0), (4, 4), (0, 4)}
