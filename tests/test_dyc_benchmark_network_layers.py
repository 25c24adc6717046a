"""Times of a network's layers: which layers, in which order, on which features."""

import torch
from torch import nn

import dyc
from dyc.benchmark.network_layers import time_network_layers
from dyc.models.dynet_blocks import Conv, ConvChain


def test_every_convolution_that_runs_is_timed_in_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), dyc.DynamicConv2d(4, 8, 1, attention="dy"), nn.ReLU())
    model.unused = nn.Conv2d(1, 1, 1)
    model.forward = lambda x: model[2](model[1](model[0](x)))
    found = time_network_layers(model.eval(), torch.randn(2, 3, 9, 9), seconds=0.001)
    assert [(each.layer, each.dynamic, each.channels, each.size) for each in found] == [
        ("0", False, (3, 4), (4, 4)),
        ("1", True, (4, 8), (4, 4)),
    ]
    assert all(0 < each.p20_ms <= each.median_ms <= each.p80_ms for each in found)


def test_layers_are_given_their_coefficients():
    model = ConvChain(4, [Conv(6, 1), Conv(6, 3)], num_kernels=3).eval()
    found = time_network_layers(model, torch.randn(1, 4, 5, 5), seconds=0.001)
    assert [each.layer for each in found] == ["convs.0", "convs.1"]
