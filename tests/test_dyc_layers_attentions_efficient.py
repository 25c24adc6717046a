"""The attention of EAM-DyNet: which channels it sees, and what becomes of them."""

import pytest
import torch
from torch import nn

import dyc
from dyc.layers.attentions.efficient import EfficientAttention

SELECTIONS = {
    "rcr": ({"select": "rcr"}, None),
    "rcr_8": ({"select": "rcr", "channels": 8}, None),
    "cgr": ({"select": "cgr"}, range(12)),
    "every": ({"select": "every"}, {0, 4, 8}),
    "quarter_0": ({"select": "quarter"}, {0, 1, 2}),
    "quarter_3": ({"select": "quarter", "quarter": 3}, {9, 10, 11}),
}


def attention(in_channels: int = 12, **kwargs) -> EfficientAttention:
    return EfficientAttention(in_channels, 6, 4, **kwargs)


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_gradient_reaches_the_selected_channels_only(name):
    kwargs, want = SELECTIONS[name]
    branch, x = attention(**kwargs, temperature=1.0), torch.randn(2, 12, 9, 7, requires_grad=True)
    weights = branch(x)
    assert weights.shape == (2, 4)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    weights[:, 0].sum().backward()
    want = branch.select.selected.tolist() if want is None else want
    assert branch.select.count in (len(want), 4)
    assert set(x.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist()) == set(want)


def test_group_maximum_follows_the_largest_channel():
    branch, x = attention(select="cgr_max", temperature=1.0), torch.randn(2, 12, 8, 8)
    x[:, 1::3] += 100
    x.requires_grad_()
    branch(x)[:, 0].sum().backward()
    assert set(x.grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist()) == {1, 4, 7, 10}


def test_groups_of_identical_channels_are_one_of_them():
    x = torch.randn(2, 4, 8, 8).repeat_interleave(3, 1)
    random = attention(select="rcr")
    random.select.selected.copy_(torch.tensor([1, 3, 8, 11]))  # one of each group
    for select in ("cgr", "cgr_max"):
        grouped = attention(select=select)
        grouped.load_state_dict(random.state_dict(), strict=False)
        torch.testing.assert_close(grouped(x), random(x))


def test_by_hand():
    branch, x = attention(select="every", pool_size=2, temperature=3.0), torch.randn(2, 12, 4, 6)
    pooled = x[:, ::4].reshape(2, 3, 2, 2, 2, 3).mean((3, 5)).flatten(1)
    logits = (pooled @ branch.fc1.weight.T).clamp(min=0) @ branch.fc2.weight.T
    torch.testing.assert_close(branch(x), (logits / 3).softmax(1))
    peaks = attention(select="every", pool_size=2, pool="max", temperature=3.0)
    peaks.load_state_dict(branch.state_dict())
    pooled = x[:, ::4].reshape(2, 3, 2, 2, 2, 3).amax((3, 5)).flatten(1)
    logits = (pooled @ branch.fc1.weight.T).clamp(min=0) @ branch.fc2.weight.T
    torch.testing.assert_close(peaks(x), (logits / 3).softmax(1))


@pytest.mark.parametrize(
    ("channels", "kwargs", "count"),
    [
        (10, {"select": "cgr"}, 4),  # groups of 3, 3, 2 and 2
        (10, {"select": "cgr_max"}, 4),
        (10, {"select": "every"}, 3),
        (3, {"select": "rcr"}, 3),
        (3, {"select": "cgr", "channels": 8}, 3),
        (3, {"select": "quarter"}, 1),
        (1, {"select": "quarter", "quarter": 3}, 1),
    ],
)
def test_channels_that_do_not_divide_or_do_not_suffice(channels, kwargs, count):
    branch, x = attention(channels, **kwargs), torch.randn(2, channels, 2, 3)  # the maps are below 5 x 5 too
    assert branch.select(x).shape == (2, count, 2, 3)
    assert branch(x).shape == (2, 4)


def test_uneven_groups():
    x = torch.arange(10.0).view(1, 10, 1, 1)
    assert attention(10, select="cgr").select(x).flatten().tolist() == [1, 4, 6.5, 8.5]
    assert attention(10, select="cgr_max").select(x).flatten().tolist() == [2, 5, 7, 9]


def test_quarters_cover_all_channels():
    for channels in (8, 10, 13):
        x = torch.arange(channels).view(1, channels, 1, 1)
        seen = [attention(channels, select="quarter", quarter=q).select(x).flatten().tolist() for q in range(4)]
        assert [channel for quarter in seen for channel in quarter] == list(range(channels))


def test_random_channels_are_kept():
    drawn = {tuple(attention(64).select.selected.tolist()) for _ in range(5)}
    assert len(drawn) > 1, "every layer has the same channels"
    assert all(len(set(channels)) == 4 and list(channels) == sorted(channels) for channels in drawn)
    one, other = attention(64, seed=3), attention(64, seed=3)
    assert torch.equal(one.select.selected, other.select.selected)
    fresh, x = attention(64, seed=4), torch.randn(2, 64, 8, 8)
    assert not torch.equal(fresh.select.selected, one.select.selected)
    assert torch.equal(one(x), one(x))
    fresh.load_state_dict(one.state_dict())
    assert torch.equal(fresh(x), one(x))
    torch.manual_seed(5)
    one = attention(64).select.selected
    torch.manual_seed(5)
    assert torch.equal(attention(64).select.selected, one)


def test_resampling_is_for_training():
    branch, x = attention(64, resample="forward"), torch.arange(64.0).view(1, 64, 1, 1)
    kept = branch.select.selected.tolist()
    seen = {tuple(branch.select(x).flatten().tolist()) for _ in range(5)}
    assert len(seen) > 1
    assert branch.eval().select(x).flatten().tolist() == kept == branch.select.selected.tolist()


def test_sigmoid_has_no_temperature():
    layer = dyc.DynamicConv2d(12, 6, 1, attention="eam", attention_kwargs={"normalizer": "sigmoid", "select": "cgr"})
    x = torch.randn(2, 12, 8, 8)
    weights = layer.attention(x)
    torch.testing.assert_close(weights, layer.attention.logits(x).sigmoid())
    assert not torch.allclose(weights.sum(1), torch.ones(2))
    assert dyc.set_temperature(layer, 1.0) == 0
    assert "attention.temperature" not in layer.state_dict()
    net = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(ValueError, match="do not sum to one"):
        dyc.make_dynamic(net, "eam", where="^0$", attention_kwargs={"normalizer": "sigmoid"})


def test_no_branch_starts_dead():
    """Each hidden unit has a mirror image, so that some unit is alive for every image."""
    for _ in range(20):
        hidden = attention(select="cgr").fc1(torch.rand(3, 100)).relu()
        assert (hidden > 0).any(1).all()


@pytest.mark.parametrize("select", ["rcr", "cgr"])
def test_a_copied_layer_computes_what_it_did(select):
    net, x = nn.Sequential(nn.Conv2d(8, 8, 3)).eval(), torch.randn(2, 8, 9, 9)
    want = net(x)
    dyc.make_dynamic(net, "eam", where="^0$", attention_kwargs={"select": select})
    torch.testing.assert_close(net(x), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "argument", "got", "need"),
    [
        ({"select": "cgr_mx"}, "select", "did you mean 'cgr_max'", "'quarter'"),
        ({"pool": "mean"}, "pool", "'mean'", "'avg'"),
        ({"normalizer": "softmin"}, "normalizer", "did you mean 'softmax'", "'sigmoid'"),
        ({"pool_size": 0}, "pool_size", "0", "at least 1"),
        ({"hidden": 2.5}, "hidden", "2.5", "an int"),
        ({"channels": 0}, "channels", "0", "at least 1"),
        ({"select": "quarter", "quarter": 4}, "quarter", "4", "0, 1, 2 or 3"),
        ({"quarter": 1}, "quarter", "no meaning with select='rcr'; leave it out", None),
        ({"select": "every", "channels": 4}, "channels", "no meaning with select='every'; leave it out", None),
        ({"select": "cgr", "seed": 1}, "seed", "no meaning with select='cgr'; leave it out", None),
        ({"resample": "always"}, "resample", "'always'", "'forward'"),
    ],
)
def test_what_cannot_be_used_is_named(raises, kwargs, argument, got, need):
    with raises(argument, got, need):
        attention(**kwargs)
