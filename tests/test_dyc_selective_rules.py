"""SelectConv's rules: what a channel is worth, which channels close, and what they are re-used for."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import dyc
from dyc.selective import activity_level, channel_damage, channel_scores, dealloc, realloc
from dyc.selective.rules import MAX_SHIFT

# What a channel is worth


def test_activity_level_is_the_mean_of_a_rectified_normal():
    offset, scale = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0]), torch.tensor([1.0, -0.8, 2.0, 0.3, 1.5])
    samples = torch.randn(1_000_000, 1).mul(scale).add(offset).relu()
    torch.testing.assert_close(activity_level(offset, scale), samples.mean(0), rtol=0, atol=6e-3)


def test_activity_level_at_the_ends():
    offset, scale = torch.tensor([50.0, -50.0, 3.0, -3.0, 0.0, -12.5]), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    found = activity_level(offset, scale)
    torch.testing.assert_close(found[:5], torch.tensor([50.0, 0.0, 3.0, 0.0, 0.0]), rtol=0, atol=1e-7)
    assert (found >= 0).all()
    exact = activity_level(torch.tensor([-2.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    assert exact.item() == pytest.approx(0.00849070, rel=1e-6)  # phi(2) - 2 (1 - Phi(2)), from tables


def test_channel_damage_is_the_expected_change_as_a_share():
    weight, activity = torch.randn(5, 7, 3, 3), torch.rand(7)
    mask = torch.tensor([True, True, False, True, True, True, False])
    shares = channel_damage(weight, activity, mask)
    for o, i in itertools.product(range(5), range(7)):
        whole = sum(abs(activity[j] * weight[o, j].sum()) for j in range(7) if mask[j])
        expected = abs(activity[i] * weight[o, i].sum()) / whole if mask[i] else torch.tensor(0.0)
        torch.testing.assert_close(shares[o, i], expected)
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    torch.testing.assert_close(channel_scores(shares), shares.square().sum(0).sqrt())


def test_output_without_weights_depends_on_nothing():
    shares = channel_damage(torch.zeros(2, 3, 1, 1), torch.ones(3))
    assert torch.equal(shares, torch.zeros(2, 3))


# Which channels close


@pytest.mark.parametrize("gamma", [0.0, 0.02, 0.1, 0.4, 0.9])
def test_longest_prefix_that_every_output_can_lose_is_closed(gamma):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        shares = torch.rand(4, 9, generator=generator).pow(4)
        shares[:, torch.randint(9, (seed % 3,), generator=generator)] = 0
        shares /= shares.sum(1, keepdim=True)
        order = sorted(range(9), key=lambda i: shares[:, i].max().item())
        fitting = [n for n in range(9) if all(sum(row[i].item() for i in order[:n]) <= gamma for row in shares)]
        assert dealloc(shares, gamma).nonzero().flatten().tolist() == sorted(order[: max(fitting)])


def test_gamma_of_zero_closes_channels_of_zero_share_only(draw_selective):
    layer = draw_selective()
    with torch.no_grad():
        layer.conv.weight[:, [2, 7]] = 0
        layer.conv.weight[:, 3] = 1e-12  # next to nothing is not nothing
    plan = dyc.plan_rewiring(layer, gamma=0.0, num_sources=0)
    assert plan[""].closed.nonzero().flatten().tolist() == [2, 7]


def test_closed_channels_stay_closed_without_sources(draw_selective):
    layer = draw_selective(closed=[1, 4])
    dyc.rewire(layer, gamma=0.0, num_sources=0)
    assert (~layer.mask).nonzero().flatten().tolist() == [1, 4]


# What they are re-used for


def test_copies_take_over_the_norm_and_read_channels_that_are_no_copies(draw_selective):
    layer = draw_selective(closed=[0, 1, 2, 3, 4])
    layer.pointers[5], layer.pointers[6] = 9, 9  # copies, which are the most important ones too
    with torch.no_grad():
        layer.conv.weight[:, [5, 6]] = 100
    layer.refresh()
    norm = copy.deepcopy(layer.norm)
    plan = dyc.rewire(layer, gamma=0.0, num_sources=3)[""].reallocation
    assert plan.slots.tolist() == [0, 1, 2, 3, 4]
    assert {5, 6} & set(plan.sources.tolist())
    copies = torch.isin(plan.sources, torch.tensor([5, 6]))
    assert torch.equal(plan.pointers, torch.where(copies, 9, plan.sources))
    assert torch.equal(layer.pointers[plan.slots], plan.pointers)
    assert (layer.pointers[layer.pointers[plan.slots]] == -1).all()
    for name in ("weight", "bias", "running_mean", "running_var"):
        now, before = getattr(layer.norm, name), getattr(norm, name)
        assert torch.equal(now[plan.slots], before[plan.sources])
        assert torch.equal(now[5:], before[5:])
    assert torch.equal(layer.conv.weight[:, :5], torch.zeros(6, 5, 1, 1))
    assert torch.equal(layer.shift[plan.slots], plan.shifts)


def test_sources_are_the_most_important_channels_and_shifts_cover_their_range():
    scores = torch.arange(1000.0)
    mask = torch.arange(1000) >= 800
    drawn = realloc(scores, mask, torch.full((1000,), -1), 3)
    assert torch.equal(drawn.slots, torch.arange(800))
    assert torch.equal(drawn.sources.unique(), torch.tensor([997, 998, 999]))
    assert torch.bincount(drawn.sources)[997:].min() > 800 / 3 * 0.8
    assert drawn.shifts.shape == (800, 2)
    assert drawn.shifts.abs().max() <= MAX_SHIFT == 1.5
    for low, high in itertools.pairwise((-1.5, -0.75, 0.0, 0.75, 1.5)):
        share = ((drawn.shifts >= low) & (drawn.shifts < high)).float().mean(0)
        assert ((share > 0.2) & (share < 0.3)).all()


def test_fewer_open_channels_than_sources():
    drawn = realloc(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([False, True, False]), torch.full((3,), -1), 3)
    assert drawn.sources.tolist() == drawn.pointers.tolist() == [1, 1]


def test_nothing_is_left_to_read():
    drawn = realloc(torch.zeros(3), torch.zeros(3, dtype=torch.bool), torch.full((3,), -1), 3)
    assert [len(tensor) for tensor in drawn] == [0, 0, 0, 0]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_channel_is_read_more_often_than_the_limit(draw_selective, limit):
    layer = draw_selective(24, 8)
    generator = torch.Generator().manual_seed(0)
    most = 0
    for _ in range(25):
        with torch.no_grad():
            layer.conv.weight.normal_().mul_(torch.rand(24, 1, 1).pow(3))
        dyc.rewire(layer, gamma=0.2, max_uses=limit, generator=generator)
        uses = torch.bincount(layer.pointers[layer.pointers >= 0], minlength=24)
        assert uses.max() <= limit
        most = max(most, int(uses.max()))
        assert torch.equal(layer.slots, (layer.pointers >= 0).nonzero().flatten())
        assert torch.equal(layer.sources, layer.pointers[layer.slots])
        assert layer.mask[layer.slots].all()
    assert most == limit


def test_rest_stays_closed_when_every_channel_is_used_up():
    mask = torch.tensor([True, True, False, False, False, False, False])
    drawn = realloc(torch.ones(7), mask, torch.full((7,), -1), 3, max_uses=2)
    assert len(drawn.slots) == 4
    assert drawn.pointers.bincount().tolist() == [2, 2]


def test_same_generator_draws_the_same_and_the_global_one_is_left_alone(draw_selective):
    layer = draw_selective(closed=[1, 2, 3, 4])
    before = torch.get_rng_state()
    first, again, other = (
        dyc.plan_rewiring(layer, generator=torch.Generator().manual_seed(s))[""].reallocation for s in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.shifts, again.shifts)
    assert torch.equal(first.sources, again.sources)
    assert not torch.equal(first.shifts, other.shifts)


# Cost


class Calls(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("max_uses", [None, 1000])
def test_number_of_operations_does_not_grow_with_the_channels(draw_selective, max_uses):
    counts = []
    for channels in (16, 256):
        layer = draw_selective(channels, channels, closed=[*range(channels // 4)])
        with Calls() as calls:
            dyc.rewire(layer, gamma=0.1, max_uses=max_uses)
        assert len(layer.slots) >= channels // 4
        counts.append(calls.count)
    assert counts[0] == counts[1]


# Errors


@pytest.mark.parametrize(
    ("kwargs", "argument"),
    [
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": 1}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"gamma": "0.1"}, "gamma"),
        ({"num_sources": -1}, "num_sources"),
        ({"num_sources": 1.5}, "num_sources"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": True}, "max_uses"),
        ({"soft_limit": 1}, "soft_limit"),
    ],
)
def test_wrong_rules_are_named(draw_selective, raises, kwargs, argument):
    layer = draw_selective()
    before = copy.deepcopy(layer.state_dict())
    with raises(argument, repr(kwargs[argument]), ""):
        dyc.rewire(layer, **kwargs)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_network_without_selective_layers(raises):
    with raises("model", "without selective layers", "dyc.make_selective"):
        dyc.rewire(nn.Conv2d(3, 4, 1))
    with raises("model", "", ""):
        dyc.iter_selective("densenet")
