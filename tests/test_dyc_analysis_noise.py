"""Responses to noisy images, where the correlation is known."""

import weakref

import pytest
import torch
from torch import nn

import dyc
from dyc.analysis.noise import AVERAGE, MIXED, OUTPUT, deviation, noise_responses
from ops import ArgumentError


def responses(model, x, sigmas, batch=None, seed=0):
    batches = x.split(batch or len(x))
    return noise_responses(model, "0", batches, sigmas, deviation(batches), seed)


def correlations(found):
    kernels = dict.fromkeys(each.kernel for each in found)
    return {kernel: [each.correlation for each in found if each.kernel == kernel] for kernel in kernels}


def test_a_pixels_own_response_falls_with_the_share_of_noise():
    torch.manual_seed(0)
    x = torch.randn(20, 1, 32, 32)
    conv = nn.Conv2d(1, 2, 1)
    found = correlations(responses(nn.Sequential(conv), x, (0.0, 1.0, 2.0), seed=1))
    assert found[OUTPUT] == pytest.approx([1, 2**-0.5, 5**-0.5], abs=0.02)


def test_kernels_are_compared_with_their_own_clean_response():
    torch.manual_seed(0)
    layer = dyc.DynamicConv2d(1, 2, 5, padding=2, num_kernels=2)
    with torch.no_grad():
        layer.weight[0] = 1 / 25  # a mean of 25 pixels keeps what the neighbours share
        layer.weight[1] = 0
        layer.weight[1, :, :, 2, 2] = 1
    smooth = nn.functional.interpolate(torch.randn(8, 1, 4, 4), scale_factor=8, mode="bilinear")
    found = responses(nn.Sequential(layer), smooth, (0.5, 1.0))
    by_kernel = correlations(found)
    assert list(by_kernel) == ["kernel 1", "kernel 2", AVERAGE, MIXED]
    assert by_kernel["kernel 1"][1] > by_kernel["kernel 2"][1] + 0.1
    assert by_kernel["kernel 2"] == pytest.approx([1.25**-0.5, 2**-0.5], abs=0.02)
    assert by_kernel["kernel 2"][1] < by_kernel[AVERAGE][1] < by_kernel["kernel 1"][1]
    assert [each.sigma for each in found] == [0.5] * 4 + [1.0] * 4
    assert found[0].maps.shape == (2, 32, 32)


def test_uniform_attention_mixes_the_average():
    layer = dyc.DynamicConv2d(3, 4, 3, attention="dyc", temperature=1e9)
    found = correlations(responses(nn.Sequential(layer), torch.randn(3, 3, 9, 9), (0.5,)))
    assert found[MIXED] == pytest.approx(found[AVERAGE])


def test_a_layer_without_maps_is_one_line():
    with pytest.raises(ArgumentError, match="feature maps as its output"):
        responses(nn.Sequential(nn.Flatten()), torch.randn(1, 1, 2, 2), (1.0,))


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_result_does_not_depend_on_the_batches(batch):
    torch.manual_seed(0)
    model = nn.Sequential(dyc.DynamicConv2d(3, 4, 3, num_kernels=2)).to(memory_format=torch.channels_last)
    x = torch.randn(16, 3, 7, 7) + 5  # the mean of a batch is not that of all
    x[12:] *= 3
    whole, parts = (responses(model, x, (0.0, 0.5, 1.0), size) for size in (16, batch))
    assert [(each.kernel, each.sigma) for each in parts] == [(each.kernel, each.sigma) for each in whole]
    assert [each.correlation for each in parts] == pytest.approx([each.correlation for each in whole], abs=1e-6)
    assert whole[0].correlation == pytest.approx(1)
    assert whole[-1].correlation < 0.95
    for one, other in zip(parts, whole):
        torch.testing.assert_close(one.maps, other.maps)


def test_one_batch_is_held_at_a_time():
    """Batches that are gone before the next one is asked for are enough."""
    alive = []

    def batches():
        for _ in range(3):
            x = torch.randn(2, 3, 9, 9)
            alive.append(weakref.ref(x))
            yield x
            del x
            assert [each() for each in alive[:-1]] == [None] * (len(alive) - 1)

    model = nn.Sequential(dyc.DynamicConv2d(3, 4, 3))
    assert len(noise_responses(model, "0", batches(), (1.0,), scale=1.0)) == 6


def test_the_deviation_of_batches_is_that_of_all_pixels():
    x = torch.randn(10, 3, 4, 4, dtype=torch.float64) * 3 + 100
    assert deviation(x.split(3)) == pytest.approx(x.std().item(), rel=1e-9)
