"""No layer closes for ever: where weights or norms are (nearly) zero, shares say nothing and nothing closes."""

import pytest
import torch

import dyc

TINY = {
    "zero": lambda weight: weight.zero_(),
    "below_epsilon": lambda weight: weight.mul_(1e-13),
    "subnormal": lambda weight: weight.fill_(1e-42),
    "cancelling": lambda weight: weight.fill_(1.0)[:, :, 0].fill_(-1.0),  # with a second row of taps
}


@pytest.mark.parametrize("outputs", [1, 6])
@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("num_sources", [0, 3])
def test_a_layer_whose_weights_say_nothing_stays_open(kind, outputs, dtype, num_sources):
    layer = dyc.SelectiveConv2d(8, outputs, (2, 1) if kind == "cancelling" else 1).to(dtype)
    with torch.no_grad():
        TINY[kind](layer.conv.weight)
    dyc.rewire(layer, num_sources=num_sources)
    assert layer.mask.all()
    assert (layer.pointers == -1).all()


@pytest.mark.parametrize("activity", ["scale", "offset"])
def test_a_layer_behind_a_dead_norm_stays_open(activity):
    layer = dyc.SelectiveConv2d(8, 4, 1)
    with torch.no_grad():
        layer.norm.weight.zero_()
        layer.norm.bias.fill_(-100.0 if activity == "offset" else 0.0)
    dyc.rewire(layer)
    assert layer.mask.all()


def test_closed_channels_stay_as_they_are_when_none_is_closed(draw_selective):
    layer = draw_selective(closed=[1, 4])
    with torch.no_grad():
        layer.conv.weight.zero_()
    dyc.rewire(layer, num_sources=0)
    assert (~layer.mask).nonzero().flatten().tolist() == [1, 4]
    dyc.rewire(layer)  # open channels of no importance are still what closed ones can be re-used for
    assert layer.mask.all()
    assert not torch.isin(layer.pointers, torch.tensor([1, 4])).any()


def test_one_output_of_zero_does_not_keep_the_others_from_closing(draw_selective):
    layer = draw_selective()
    with torch.no_grad():
        layer.conv.weight[0] = 0
        layer.conv.weight[:, 5] = 0
    plan = dyc.rewire(layer, num_sources=0)
    assert plan[""].closed.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 0.5, 0.999])
def test_no_layer_closes_completely(gamma):
    """As small as its weights may be, and as often as the rule is applied."""
    for power in range(-14, 1):
        generator = torch.Generator().manual_seed(power + 14)
        layer = dyc.SelectiveConv2d(16, 2, 1)
        with torch.no_grad():
            layer.conv.weight.normal_(generator=generator).mul_(10.0**power)
        for _ in range(20):
            dyc.rewire(layer, gamma, num_sources=0)
        assert layer.mask.any(), power
