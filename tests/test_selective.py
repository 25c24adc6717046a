"""SelectConv's rules: what a channel is worth, which ones close, and what re-using them leaves as it was."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import dyc
from dyc.layers import MaskedConv2d
from dyc.selective import activity_level, channel_damage, channel_scores, dealloc, realloc
from dyc.selective.rewiring import MAX_SHIFT


def draw_layer(channels=12, outputs=6, kernel=1, **kwargs):
    """Draw a layer whose norm has seen something, so that every channel is worth something else."""
    layer = dyc.SelectiveConv2d(channels, outputs, kernel, padding=kernel // 2, **kwargs)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 1.5)
        layer.norm.bias.normal_()
        layer.norm.running_mean.normal_()
        layer.norm.running_var.uniform_(0.5, 2)
    return layer


class Net(nn.Module):
    """Three selective layers, one of which only closes channels, and one whose input another one reads too."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.a, self.b, self.c = draw_layer(10, 14), draw_layer(14, 8, 3, reallocate=False), draw_layer(18, 12)

    def forward(self, x):
        x = self.stem(x)
        return self.c(torch.cat([x, self.b(self.a(x))], 1))


def close(layer, *channels):
    layer.mask[list(channels)] = False
    layer.refresh()
    return layer


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
        fitting = [n for n in range(10) if all(sum(row[i].item() for i in order[:n]) <= gamma for row in shares)]
        assert dealloc(shares, gamma).nonzero().flatten().tolist() == sorted(order[: max(fitting)])


def test_gamma_of_zero_closes_channels_of_zero_share_only():
    layer = draw_layer()
    with torch.no_grad():
        layer.conv.weight[:, [2, 7]] = 0
        layer.conv.weight[:, 3] = 1e-12  # next to nothing is not nothing
    plan = dyc.plan_rewiring(layer, gamma=0.0, num_sources=0)
    assert plan[""].closed.nonzero().flatten().tolist() == [2, 7]


def test_closed_channels_stay_closed_without_sources():
    layer = close(draw_layer(), 1, 4)
    dyc.rewire(layer, gamma=0.0, num_sources=0)
    assert (~layer.mask).nonzero().flatten().tolist() == [1, 4]


def test_closed_channel_contributes_nothing():
    """Whatever a closed channel holds, weights that are not finite included."""
    layer = close(draw_layer(kernel=3, reallocate=False), 1, 4)
    spoilt = copy.deepcopy(layer)
    with torch.no_grad():
        spoilt.conv.weight[:, 1] = float("nan")
        spoilt.conv.weight[:, 4] = float("inf")
        spoilt.norm.bias[4] += 5
    x = torch.randn(2, 12, 5, 5)
    for mode in (True, False):
        grads = []
        for net in (layer.train(mode), spoilt.train(mode)):
            net.zero_grad()
            own = x.clone().requires_grad_()
            y = net(own)
            y.square().sum().backward()
            grads.append((y.detach(), own.grad, *(p.grad for p in net.parameters())))
        assert all(torch.equal(a, b) for a, b in zip(*grads))
        _, x_grad, scale, offset, weight = grads[1]
        for grad in (x_grad[:, [1, 4]], scale[[1, 4]], offset[[1, 4]], weight[:, [1, 4]]):
            assert torch.equal(grad, torch.zeros_like(grad))
        assert weight.abs().sum() > 0
    plan = dyc.plan_rewiring(spoilt, gamma=0.05, num_sources=0)
    assert torch.equal(plan[""].closed, dyc.plan_rewiring(layer, gamma=0.05, num_sources=0)[""].closed)


def test_all_channels_open_is_the_plain_convolution():
    conv = nn.Conv2d(4, 6, 3, padding=1)
    masked = MaskedConv2d.from_conv(conv)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(masked(x), conv(x))
    masked.mask[2] = False
    masked.refresh()
    zeroed = x.clone()
    zeroed[:, 2] = 0
    torch.testing.assert_close(masked(x), conv(zeroed), rtol=1e-5, atol=1e-6)


# What they are re-used for


@pytest.mark.parametrize("training", [False, True])
def test_reallocation_changes_no_output(training):
    net = Net()
    for layer, channels in ((net.a, [0, 3, 5]), (net.b, [1]), (net.c, [2, 9, 17])):
        close(layer, *channels)
    net.train(training)
    x = torch.randn(4, 3, 6, 6)
    for _ in range(3):
        plan = dyc.plan_rewiring(net, gamma=0.0)
        before = copy.deepcopy(net)(x)
        dyc.apply_rewiring(net, plan)
        assert torch.equal(net(x), before)
    assert len(plan["a"].reallocation.slots) == 3, "copies have weights of zero, so they are drawn anew"
    assert not net.b.mask.all()


@pytest.mark.parametrize("training", [False, True])
def test_reallocation_of_one_layer_leaves_its_output_bit_equal(training):
    layer = close(draw_layer(kernel=3), 0, 2, 11).train(training)
    x = torch.randn(3, 12, 5, 5)
    before = copy.deepcopy(layer)(x)
    dyc.rewire(layer, gamma=0.0)
    assert layer.mask.all()
    assert len(layer.slots) == 3
    assert torch.equal(layer(x), before)


def test_all_closed_channels_open_again():
    net = Net()
    dyc.rewire(net, gamma=0.3, generator=torch.Generator().manual_seed(1))
    assert net.a.mask.all()
    assert net.c.mask.all()
    assert not net.b.mask.all(), "made with reallocate=False"
    assert len(net.a.slots) > 0
    assert len(net.c.slots) > 0


def test_copies_take_over_the_norm_and_read_channels_that_are_no_copies():
    layer = close(draw_layer(), 0, 1, 2, 3, 4)
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
def test_no_channel_is_read_more_often_than_the_limit(limit):
    layer = draw_layer(24, 8)
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


def test_same_generator_draws_the_same_and_the_global_one_is_left_alone():
    layer = close(draw_layer(), 1, 2, 3, 4)
    before = torch.get_rng_state()
    first, again, other = (
        dyc.plan_rewiring(layer, generator=torch.Generator().manual_seed(s))[""].reallocation for s in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.shifts, again.shifts)
    assert torch.equal(first.sources, again.sources)
    assert not torch.equal(first.shifts, other.shifts)


# The optimiser


def momentum_of(optimizer, parameter):
    values = optimizer.state[parameter].values()
    return [v for v in values if isinstance(v, torch.Tensor) and v.shape == parameter.shape]


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.AdamW(p, 0.01)])
@pytest.mark.parametrize("reset", [True, False])
def test_optimiser_forgets_re_used_columns_only(make, reset):
    layer = draw_layer(bias=True)
    optimizer = make(layer.parameters())
    dyc.rewire(layer, gamma=0.3)  # so that shifts have a gradient
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(4, 12, 5, 5)).square().mean().backward()
        optimizer.step()
    close(layer, 1, 4, int(layer.slots[0]))
    before = copy.deepcopy(optimizer)
    old = {
        name: momentum_of(before, p) for (name, _), p in zip(layer.named_parameters(), before.param_groups[0]["params"])
    }
    slots = dyc.rewire(layer, gamma=0.0, optimizer=optimizer if reset else None)[""].reallocation.slots
    assert {1, 4} <= set(slots.tolist())
    for name, parameter in layer.named_parameters():
        values = momentum_of(optimizer, parameter)
        assert len(values) == len(old[name]) > 0
        dim = {"conv.weight": 1, "conv.bias": None}.get(name, 0)
        for value, expected in zip(values, old[name]):
            if reset and dim is not None:
                expected = expected.index_fill(dim, slots, 0)
                assert not torch.equal(expected, torch.zeros_like(expected))
            assert torch.equal(value, expected), name
    steps = [state["step"] for state in optimizer.state.values() if "step" in state]
    assert all(step == 3 for step in steps)


# Saving and copying


def rewired_net():
    net = Net()
    dyc.rewire(net, gamma=0.3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in (net.a, net.c):
            assert len(layer.slots) > 0
            layer.conv.weight.normal_()  # or copies would be of no weight
    return net.eval()


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def saved(net):
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = Net().eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


def assigned(net):
    with torch.device("meta"):
        fresh = Net()
    fresh.load_state_dict(net.state_dict(), assign=True)
    for layer in (fresh.a, fresh.b, fresh.c):
        layer.refresh()
    return fresh.eval()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled, saved, assigned])
def test_copy_computes_the_same(duplicate):
    net = rewired_net()
    again, x = duplicate(net), torch.randn(2, 3, 6, 6)
    assert torch.equal(again(x), net(x))
    assert not torch.equal(Net().eval()(x), net(x))
    for (name, one), (_, other) in zip(net.state_dict().items(), again.state_dict().items()):
        assert torch.equal(one, other), name
    dyc.rewire(again, gamma=0.0)
    assert torch.equal(net.a.slots, saved(net).a.slots), "the original is not changed with its copy"


def test_state_of_a_network_that_was_never_rewired_undoes_a_rewiring():
    fresh, net = Net().eval(), rewired_net()
    net.load_state_dict(fresh.state_dict())
    x = torch.randn(2, 3, 6, 6)
    assert len(net.a.slots) == 0
    assert not net.b.conv.has_closed
    assert torch.equal(net(x), fresh(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype):
    net, x = rewired_net().requires_grad_(False), torch.randn(2, 3, 6, 6)
    expected = net(x)
    found = copy.deepcopy(net).to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float64 else 0.05 * expected.abs().max().item()
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=tolerance)


def test_layer_that_only_closes_channels_is_scripted():
    layer = close(draw_layer(reallocate=False), 3).eval()
    x = torch.randn(2, 12, 5, 5)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


def test_layer_on_the_meta_device():
    with torch.device("meta"):
        layer = dyc.SelectiveConv2d(4, 6, 3, padding=1)
        assert layer(torch.empty(2, 4, 8, 8)).shape == (2, 6, 8, 8)
    layer.refresh()
    assert layer.mask.is_meta


# Cost


class Calls(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("max_uses", [None, 1000])
def test_number_of_operations_does_not_grow_with_the_channels(max_uses):
    counts = []
    for channels in (16, 256):
        layer = close(draw_layer(channels, channels), *range(channels // 4))
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
    ],
)
def test_wrong_rules_are_named(raises, kwargs, argument):
    layer = draw_layer()
    before = copy.deepcopy(layer.state_dict())
    with raises(argument, repr(kwargs[argument]), ""):
        dyc.rewire(layer, **kwargs)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_network_without_selective_layers(raises):
    with raises("model", "without selective layers", "dyc.make_selective"):
        dyc.rewire(nn.Conv2d(3, 4, 1))
    with raises("model", "", ""):
        dyc.iter_selective("densenet")


def test_parts_that_do_not_fit(raises):
    norm, conv = nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1)
    with raises("groups", "2", "1"):
        dyc.SelectiveConv2d.wrap(norm, nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2))
    with raises("norm", "5 channels", "4"):
        dyc.SelectiveConv2d.wrap(nn.BatchNorm2d(5), nn.ReLU(), conv)
    with raises("norm", "affine=False", "affine=True"):
        dyc.SelectiveConv2d.wrap(nn.BatchNorm2d(4, affine=False), nn.ReLU(), conv)
    with raises("drop_rate", "1.0", "[0, 1)"):
        dyc.SelectiveConv2d.wrap(norm, nn.ReLU(), conv, drop_rate=1.0)
