"""What an optimiser remembers of re-used channels, and networks about which nothing can be told."""

import copy

import pytest
import timm.optim
import torch
from torch import nn

import dyc
from dyc.selective.optimizer_state import ANCHORS, MEMORIES


def momentum_of(optimizer, parameter):
    values = optimizer.state[parameter].values()
    return [v for v in values if isinstance(v, torch.Tensor) and v.shape == parameter.shape]


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.AdamW(p, 0.01)])
@pytest.mark.parametrize("reset", [True, False])
def test_optimiser_forgets_re_used_columns_only(draw_selective, make, reset):
    layer = draw_selective(bias=True)
    optimizer = make(layer.parameters())
    dyc.rewire(layer, gamma=0.3)  # so that shifts have a gradient
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(4, 12, 5, 5)).square().mean().backward()
        optimizer.step()
    layer.mask[[1, 4, int(layer.slots[0])]] = False
    layer.refresh()
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


def step(layer, optimizer, times=3):
    for _ in range(times):
        optimizer.zero_grad()
        layer(torch.randn(4, layer.in_channels, 5, 5)).square().mean().backward()
        optimizer.step()


def reused(layer, optimizer):
    """Re-use two channels; returns them."""
    step(layer, optimizer)
    layer.mask[[1, 4]] = False
    layer.refresh()
    return dyc.rewire(layer, gamma=0.0, optimizer=optimizer)[""].reallocation.slots


@pytest.mark.parametrize("name", ["madgrad", "lookahead_momentum"])
def test_anchor_of_a_re_used_channel_is_its_new_value(draw_selective, name):
    layer = draw_selective()
    optimizer = timm.optim.create_optimizer_v2(layer, name, lr=1e-3)
    slots = reused(layer, optimizer)
    state = getattr(optimizer, "_base_optimizer", optimizer).state
    key = {"madgrad": "x0", "lookahead_momentum": "lookahead_slow_buff"}[name]
    if key not in state[layer.shift]:  # Lookahead makes it at its first synchronisation
        step(layer, optimizer, 6)
        layer.mask[[1, 4]] = False
        layer.refresh()
        slots = dyc.rewire(layer, gamma=0.0, optimizer=optimizer)[""].reallocation.slots
    assert len(slots) >= 2
    for parameter, dim in ((layer.conv.weight, 1), (layer.norm.weight, 0), (layer.shift, 0)):
        anchor = state[parameter][key]
        assert torch.equal(anchor.index_select(dim, slots), parameter.index_select(dim, slots))
        others = torch.tensor([i for i in range(12) if i not in slots])
        assert not torch.equal(anchor.index_select(dim, others), parameter.index_select(dim, others)) or dim == 0


def test_state_of_an_unknown_kind_is_kept_and_named(draw_selective):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["riddle"] = torch.ones_like(p)

    layer = draw_selective()
    optimizer = Odd(layer.parameters(), 0.1)
    with pytest.warns(UserWarning, match="Odd keeps riddle for re-used channels"):
        reused(layer, optimizer)
    assert all(state["riddle"].all() for state in optimizer.state.values())


def test_state_of_timms_optimisers_is_known(draw_selective):
    """Of all that run here: the others need a GPU, further packages or second derivatives."""
    seen = set()
    for name in timm.optim.list_optimizers(exclude_filters=["bnb*", "fused*", "adahessian"]):
        layer = draw_selective()
        optimizer = timm.optim.create_optimizer_v2(layer, name, lr=1e-3)
        step(layer, optimizer, 2)
        for parameter, state in getattr(optimizer, "_base_optimizer", optimizer).state.items():
            names = {k for k, v in state.items() if isinstance(v, torch.Tensor) and v.shape == parameter.shape}
            assert names <= MEMORIES | ANCHORS, name
            seen |= names
    assert {"momentum_buffer", "exp_avg", "square_avg", "x0"} <= seen


# Networks about which nothing can be told


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error_and_close_nothing(draw_selective, raises, value):
    net = nn.Sequential(draw_selective(closed=[1, 2]), draw_selective(6))
    with torch.no_grad():
        net[0].conv.weight[0, 5] = value
    before = copy.deepcopy(net.state_dict())
    with raises("model", "of '0' are not finite; the training has diverged"):
        dyc.rewire(net)
    for name, values in net.state_dict().items():
        torch.testing.assert_close(values, before[name], rtol=0, atol=0, equal_nan=True)


def test_closed_channels_may_hold_anything(draw_selective):
    layer = draw_selective(closed=[1])
    with torch.no_grad():
        layer.conv.weight[:, 1] = float("nan")
    dyc.rewire(layer, gamma=0.0)
    assert layer.mask.all()
    assert not layer.conv.weight[:, 1].any()


def test_network_on_the_meta_device(raises):
    with torch.device("meta"):
        layer = dyc.SelectiveConv2d(4, 2, 1)
    with raises("model", "meta device", "holds data"):
        dyc.plan_rewiring(layer)


def test_plan_of_another_network(draw_selective, raises):
    plan = dyc.plan_rewiring(draw_selective())
    with raises("plan", "was made for other layers: only one of plan and model has"):
        dyc.apply_rewiring(nn.Sequential(draw_selective()), plan)


@pytest.mark.parametrize(
    "shares", [torch.rand(3), torch.zeros(0, 3), torch.ones(2, 2).long(), torch.full((2, 2), float("nan"))]
)
def test_shares_that_are_none(raises, shares):
    with raises(
        "shares",
        "",
        "C_out" if shares.dim() != 2 or shares.numel() == 0 or not shares.is_floating_point() else "finite",
    ):
        dyc.selective.dealloc(shares)


def test_arguments_of_realloc(raises):
    scores, mask, pointers = torch.rand(3), torch.tensor([True, False, True]), torch.full((3,), -1)
    for name, wrong in {"scores": scores.long(), "mask": mask.float(), "pointers": pointers.float()}.items():
        arguments = {"scores": scores, "mask": mask, "pointers": pointers, name: wrong}
        with raises(name, str(wrong.dtype), "(C_in,)"):
            dyc.selective.realloc(**arguments)
