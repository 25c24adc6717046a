"""make_selective: dropout between activation and convolution, the model's own and that asked for."""

import copy

import pytest
import timm
import torch
from torch import nn

import dyc

SIZE = {"input_size": (4, 8, 8)}


@pytest.mark.parametrize("drop", [nn.Dropout(0.25), nn.Dropout2d(0.25), nn.Dropout(1.0)], ids=repr)
@pytest.mark.parametrize("training", [True, False])
def test_between_activation_and_convolution_is_taken_over(drop, training):
    drop.train(training)
    model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), drop, nn.Conv2d(6, 4, 1))
    other = copy.deepcopy(model)
    dyc.make_selective(model, **SIZE)
    assert type(model[3]) is nn.Identity
    assert model[4].drop is drop
    assert drop.training is training
    assert dyc.compact(model, **SIZE)[4].drop.training is training
    x = torch.randn(2, 4, 8, 8)
    torch.manual_seed(1)
    want = other(x)
    torch.manual_seed(1)
    assert torch.equal(model(x), want)


def test_of_the_layers():
    model = dyc.make_selective(timm.create_model("densenet40", layers=(1, 1, 1)), drop_rate=0.1)
    assert {layer.drop.p for _, layer in dyc.iter_selective(model)} == {0.1}


def test_of_the_layers_instead_of_the_models():
    model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(), nn.Conv2d(6, 4, 1))
    dyc.make_selective(model, drop_rate=0.1, **SIZE)
    assert type(model[3]) is nn.Identity
    assert (type(model[4].drop), model[4].drop.p) == (nn.Dropout, 0.1)
