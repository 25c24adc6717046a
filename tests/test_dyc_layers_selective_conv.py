"""Selective layers: closed channels, what re-using them leaves as it was, and copies."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import dyc
from dyc.layers import MaskedConv2d


class Net(nn.Module):
    """Three selective layers, one of which only closes channels, and one whose input another one reads too."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.a = dyc.SelectiveConv2d(10, 14, 1)
        self.b = dyc.SelectiveConv2d(14, 8, 3, padding=1, reallocate=False)
        self.c = dyc.SelectiveConv2d(18, 12, 1)
        with torch.no_grad():
            for layer in (self.a, self.b, self.c):
                layer.norm.weight.uniform_(0.5, 1.5)
                layer.norm.bias.normal_()
                layer.norm.running_mean.normal_()

    def forward(self, x):
        x = self.stem(x)
        return self.c(torch.cat([x, self.b(self.a(x))], 1))


def close(layer, *channels):
    layer.mask[list(channels)] = False
    layer.refresh()


# Closed and re-used channels


def test_closed_channel_contributes_nothing(draw_selective):
    """Whatever its weights hold, values that are not finite included."""
    layer = draw_selective(kernel=3, reallocate=False, closed=[1, 4])
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
def test_reallocation_of_one_layer_leaves_its_output_bit_equal(draw_selective, training):
    layer = draw_selective(kernel=3, closed=[0, 2, 11]).train(training)
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


def test_layer_that_only_closes_channels_is_scripted(draw_selective):
    layer = draw_selective(reallocate=False, closed=[3]).eval()
    x = torch.randn(2, 12, 5, 5)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


def test_layer_made_without_data_starts_open_once_it_is_reset():
    with torch.device("meta"):
        layer = dyc.SelectiveConv2d(6, 4, 1)
    layer.to_empty(device="cpu")
    for values in (layer.pointers, layer.mask):
        values.zero_()  # what memory may hold
    for module in (layer, layer.norm, layer.conv):
        module.reset_parameters()
    assert layer.mask.all()
    assert (layer.pointers == -1).all()
    assert not layer.shift.any()
    assert layer(torch.randn(2, 6, 3, 3)).isfinite().all()


def test_transforms_of_torch_func_pass_a_layer_in_training():
    layer = dyc.SelectiveConv2d(6, 4, 1)
    state = {name: p.detach() for name, p in layer.named_parameters()}
    x = torch.randn(2, 6, 3, 3)
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    call = torch.func.functional_call
    grads = torch.func.grad(lambda p, b: call(layer, {**b, **p}, x).square().sum())(state, buffers)
    layer(x).square().sum().backward()
    torch.testing.assert_close(grads["conv.weight"], layer.conv.weight.grad)
    assert torch.equal(grads["shift"], layer.shift.grad)
    assert not layer.shift.grad.any()


def test_layer_on_the_meta_device():
    with torch.device("meta"):
        layer = dyc.SelectiveConv2d(4, 6, 3, padding=1)
        assert layer(torch.empty(2, 4, 8, 8)).shape == (2, 6, 8, 8)
    layer.refresh()
    assert layer.mask.is_meta


# Errors


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
