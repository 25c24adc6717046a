"""Responses to noisy images, where the correlation is known."""

import pytest
import torch
from torch import nn

import dyc
from dyc.analysis.noise import AVERAGE, MIXED, OUTPUT, noise_responses
from ops import ArgumentError


def correlations(found):
    kernels = dict.fromkeys(each.kernel for each in found)
    return {kernel: [each.correlation for each in found if each.kernel == kernel] for kernel in kernels}


def test_a_pixels_own_response_falls_with_the_share_of_noise():
    torch.manual_seed(0)
    x = torch.randn(20, 1, 32, 32)
    conv = nn.Conv2d(1, 2, 1)
    found = correlations(noise_responses(nn.Sequential(conv), "0", x, (0.0, 1.0, 2.0), seed=1))
    assert found[OUTPUT] == pytest.approx([1, 2**-0.5, 5**-0.5], abs=0.02)


def test_kernels_are_compared_with_their_own_clean_response():
    torch.manual_seed(0)
    layer = dyc.DynamicConv2d(1, 2, 5, padding=2, num_kernels=2)
    with torch.no_grad():
        layer.weight[0] = 1 / 25  # a mean of 25 pixels keeps what the neighbours share
        layer.weight[1] = 0
        layer.weight[1, :, :, 2, 2] = 1
    smooth = nn.functional.interpolate(torch.randn(8, 1, 4, 4), scale_factor=8, mode="bilinear")
    found = noise_responses(nn.Sequential(layer), "0", smooth, (0.5, 1.0))
    by_kernel = correlations(found)
    assert list(by_kernel) == ["kernel 1", "kernel 2", AVERAGE, MIXED]
    assert by_kernel["kernel 1"][1] > by_kernel["kernel 2"][1] + 0.1
    assert by_kernel["kernel 2"] == pytest.approx([1.25**-0.5, 2**-0.5], abs=0.02)
    assert by_kernel["kernel 2"][1] < by_kernel[AVERAGE][1] < by_kernel["kernel 1"][1]
    assert [each.sigma for each in found] == [0.5] * 4 + [1.0] * 4
    assert found[0].maps.shape == (2, 32, 32)


def test_uniform_attention_mixes_the_average():
    layer = dyc.DynamicConv2d(3, 4, 3, attention="dyc", temperature=1e9)
    found = correlations(noise_responses(nn.Sequential(layer), "0", torch.randn(3, 3, 9, 9), (0.5,)))
    assert found[MIXED] == pytest.approx(found[AVERAGE])


def test_a_layer_without_maps_is_one_line():
    with pytest.raises(ArgumentError, match="feature maps as its output"):
        noise_responses(nn.Sequential(nn.Flatten()), "0", torch.randn(1, 1, 2, 2), (1.0,))
