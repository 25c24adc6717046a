"""Arguments of compact, and the work that what it returns saves."""

import pytest
import timm
import torch
from support.work import work
from torch import nn

import dyc
import ops
from dyc.layers.gathered import SelectChannels

SIZE = (8, 6, 6)


@pytest.fixture
def model(draw_selective):
    """Layers with 1 of 8, 3 of 8 and none of 6 channels closed; each makes the input of the next."""
    layers = [
        draw_selective(8, 8, closed=[5]),
        draw_selective(8, 6, kernel=3, closed=[0, 3, 6], reallocate=False),
        draw_selective(6, 4),
    ]
    with torch.no_grad():
        layers[0].pointers[[1, 5]] = torch.tensor([2, 3])  # a pointer of a closed channel means nothing
        layers[0].shift.uniform_(-1.5, 1.5)
        layers[0].conv.weight[:, 5] = float("nan")
    layers[0].refresh()
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("share", "widths"),
    [(0.0, [7, 5, 6]), (0.125, [7, 5, 6]), (0.2, [8, 5, 6]), (0.375, [8, 5, 6]), (0.5, [8, 8, 6]), (1, [8, 8, 6])],
)
def test_which_layers_keep_all(model, share, widths):
    small = dyc.compact(model, keep_below=share, input_size=SIZE)
    assert [parts.conv.in_channels for parts in small] == widths
    assert [parts.norm.num_features for parts in small] == widths
    assert sum(isinstance(m, SelectChannels) for m in small.modules()) == (widths[0] < 8)
    x = torch.randn(2, *SIZE)
    torch.testing.assert_close(small(x), model(x))


@pytest.mark.parametrize("share", [-0.1, 1.5, "few", True, float("nan")])
def test_shares_that_cannot_be_used(model, share, raises):
    with raises("keep_below", str(share), "a share of channels in [0, 1]"):
        dyc.compact(model, keep_below=share, input_size=SIZE)


def test_a_model_without_data():
    with torch.device("meta"):
        model = nn.Sequential(dyc.SelectiveConv2d(4, 4, 1))
    with pytest.raises(ops.ArgumentError, match="model: got a network without data, on the meta device"):
        dyc.compact(model, input_size=(4, 8, 8))


def test_no_model():
    with pytest.raises(ops.ArgumentError, match="model: got 'densenet40'"):
        dyc.compact("densenet40")


def test_it_does_less():
    model = timm.create_model("select_densenet40").eval()
    for _, layer in dyc.iter_selective(model):
        layer.mask[torch.randperm(layer.in_channels)[::2]] = False
        layer.refresh()
    small = dyc.compact(model)
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        before, after = (work(lambda net=net: net(x)) for net in (model, small))
    assert after.flops < 0.5 * before.flops
    assert after.elements < 0.8 * before.elements
    assert after.operators < before.operators
    assert after.calls < before.calls
