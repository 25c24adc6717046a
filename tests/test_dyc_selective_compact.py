"""compact: the same outputs from a smaller, ordinary network."""

import copy
import warnings

import pytest
import timm
import torch
from torch import nn

import dyc
import ops
from dyc.layers.gathered import SelectChannels, ShiftChannels
from dyc.layers.selective_conv import MaskedConv2d

NETWORKS = {
    "densenet121": {"block_config": (1, 2, 1, 1)},
    "resnetv2_50": {"layers": (2, 1, 1)},
    "resnet26": {"layers": (1, 1, 1, 1)},
    "select_densenet40": {"layers": (3, 2, 2)},
}


@torch.no_grad()
def use(model: nn.Module, closed: float = 0.5, moved: float = 0.25) -> nn.Module:
    """Close and re-use channels at random, and let all norms and shifts count."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    for _, layer in dyc.iter_selective(model):
        order = torch.randperm(layer.in_channels)
        count = round(closed * layer.in_channels)
        layer.mask[order[:count]] = False
        if layer.reallocates:
            slots = order[count:][: round(moved * layer.in_channels)]
            layer.pointers[slots] = torch.randint(layer.in_channels, slots.shape)  # closed and re-used sources too
            layer.shift.uniform_(-1.5, 1.5)
        layer.refresh()
    return model


def built(name: str, **kwargs) -> nn.Module:
    model = timm.create_model(name, num_classes=10, **NETWORKS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not name.startswith("select"):
            dyc.make_selective(model)
    return use(model, **kwargs).eval()


def bottleneck(groups: int = 1, bias: bool = False, **kwargs) -> nn.Sequential:
    """Return two selective layers, of which the first makes what the second reads."""
    layers = dyc.SelectiveConv2d(8, 6, 1, bias=bias), dyc.SelectiveConv2d(6, 4, 3, padding=1, bias=True)
    return use(nn.Sequential(nn.Conv2d(4, 8, 1, groups=groups, bias=bias), *layers), **kwargs).eval()


SIZE = {"input_size": (4, 8, 8)}


def images() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def assert_same(got: torch.Tensor, want: torch.Tensor) -> None:
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def kinds(model: nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


class TestTheSameOutputs:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_of_timms_models(self, name):
        model = built(name)
        before = copy.deepcopy(model.state_dict())
        x = torch.randn(2, 3, 32, 32)
        small = dyc.compact(model)
        for layout in (torch.contiguous_format, torch.channels_last):
            small.to(memory_format=layout)
            with torch.no_grad():
                assert_same(small(x.to(memory_format=layout)), model(x))
        assert not kinds(small, dyc.SelectiveConv2d | MaskedConv2d)
        shifted = sum(layer.slots.shape[0] > 0 for _, layer in dyc.iter_selective(model))
        assert kinds(small, ShiftChannels) == shifted
        assert parameters(small) <= dyc.selective_layers(model).effective_parameters
        size = (3, 32, 32)
        assert dyc.profile(small, size).macs < dyc.profile(model, size).macs
        after = model.state_dict()
        assert all(torch.equal(after[key], before[key]) for key in before), "the model was changed"
        with pytest.raises(ops.ArgumentError, match="model: got a network without selective layers"):
            dyc.compact(small)

    def test_after_rewiring(self):
        model = dyc.make_selective(timm.create_model("densenet121", block_config=(1, 2, 1, 1), num_classes=10)).eval()
        dyc.rewire(model, gamma=0.3, num_sources=3, max_uses=8)
        with torch.no_grad():
            for _, layer in dyc.iter_selective(model):
                layer.conv.weight[:, layer.slots] = torch.randn_like(layer.conv.weight[:, layer.slots]) * 0.1
        dyc.rewire(model, gamma=0.2, num_sources=0)
        total = dyc.selective_layers(model).total
        assert total.closed > 0
        assert total.reallocated > 0
        x = torch.randn(2, 3, 32, 32)
        assert_same(dyc.compact(model)(x), model(x))

    def test_of_a_layer_that_is_the_model(self):
        layer = use(dyc.SelectiveConv2d(8, 4, 3, padding=1)).eval()
        x = torch.randn(2, 8, 6, 5)
        assert_same(dyc.compact(layer, input_size=(8, 6, 5))(x), layer(x))

    @pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
    def test_all_channels_closed(self, value):
        model = bottleneck(closed=1.0, bias=True)
        with torch.no_grad():
            model[2].conv.weight.fill_(value)
        small = dyc.compact(model, **SIZE)
        x = images()
        assert torch.equal(small(x), model(x))
        assert torch.equal(small(x), model[2].conv.bias[:, None, None].expand(2, 4, 8, 8))
        assert small[2].conv.in_channels == 1
        small.train()(x).sum().backward()  # not a network without channels

    def test_nothing_closed(self):
        model = bottleneck(closed=0.0, moved=0.0)
        small = dyc.compact(model, **SIZE)
        assert not kinds(small, SelectChannels | ShiftChannels)
        assert torch.equal(small(images().fill_(0.5)), model(images().fill_(0.5)))
        assert parameters(small) == parameters(model) - 2 * (8 + 6)  # no shifts

    def test_re_used_channels_of_an_open_layer_are_not_selected(self):
        model = use(nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), dyc.SelectiveConv2d(8, 4, 1)), closed=0.0).eval()
        small = dyc.compact(model, **SIZE)
        assert kinds(small, ShiftChannels) == 1
        assert not kinds(small, SelectChannels)
        x = images()
        assert_same(small(x), model(x))

    def test_norms_of_other_classes(self):
        model = bottleneck()
        model[1].norm = nn.SyncBatchNorm.convert_sync_batchnorm(model[1].norm)
        small = dyc.compact(model, **SIZE)
        assert type(small[1].norm) is nn.SyncBatchNorm
        x = images()
        assert_same(small(x), model(x))

    def test_training_mode_dropout_and_frozen_parameters_are_kept(self):
        model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), dyc.SelectiveConv2d(8, 4, 1, drop_rate=0.25))
        use(model)
        model[2].norm.eval()
        model[2].conv.weight.requires_grad_(False)
        small = dyc.compact(model, **SIZE)
        assert [part.training for part in small[2]] == [True, True, False, True, True, True]
        assert small[2].drop.p == 0.25
        assert {n for n, p in small.named_parameters() if not p.requires_grad} == {"2.conv.weight"}
        state = torch.get_rng_state()
        dyc.compact(model, **SIZE)
        assert torch.equal(torch.get_rng_state(), state)


class TestWhatIsMade:
    """A convolution whose outputs one selective layer reads makes only those that it needs."""

    @pytest.mark.parametrize("bias", [False, True])
    def test_unread_outputs_are_not_made(self, bias):
        model = bottleneck(bias=bias, moved=0.0)
        small = dyc.compact(model, **SIZE)
        assert not kinds(small, SelectChannels)
        assert (small[0].out_channels, small[1].conv.out_channels) == (4, 3)
        table = dyc.selective_layers(model)
        unread = 4 * (4 + bias) + 3 * (4 + bias)  # half of the outputs, each of four open inputs
        assert parameters(small) == table.effective_parameters - unread
        x = images()
        assert_same(small(x), model(x))

    def test_sources_of_re_used_channels_are_made(self):
        model = bottleneck(closed=0.0, moved=0.0)
        layer = model[2]
        with torch.no_grad():
            layer.mask[:] = torch.tensor([True, True, False, False, False, False])
            layer.pointers[1] = 5
            layer.shift[1] = torch.tensor([0.5, -1.25])
        layer.refresh()
        small = dyc.compact(model, **SIZE)
        assert small[1].conv.out_channels == 2
        assert torch.equal(small[1].conv.weight, model[1].conv.weight[[0, 5]])
        x = images()
        assert_same(small(x), model(x))

    def test_outputs_that_others_read_are_made(self):
        class Shared(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.layer = nn.Conv2d(4, 8, 1), dyc.SelectiveConv2d(8, 8, 1)

            def forward(self, x):
                y = self.conv(x)
                return y + self.layer(y)

        model = use(Shared()).eval()
        small = dyc.compact(model, **SIZE)
        assert small.conv.out_channels == 8
        assert kinds(small, SelectChannels) == 1
        assert parameters(small) == dyc.selective_layers(model).effective_parameters
        x = images()
        assert_same(small(x), model(x))

    @pytest.mark.parametrize("why", ["groups", "hooks", "shared", "twice"])
    def test_convolutions_that_must_stay_whole(self, why):
        model = bottleneck(groups=2 if why == "groups" else 1)
        if why == "hooks":
            model[0].register_forward_hook(lambda *_: None)
        elif why == "shared":
            model = nn.Sequential(model, nn.Conv2d(4, 8, 1, bias=False))
            model[1].weight = model[0][0].weight
        elif why == "twice":
            model = nn.Sequential(model[0], nn.Conv2d(8, 4, 1), model[0], *model[1:]).eval()
        small = dyc.compact(model, **SIZE)
        first = next(module for module in small.modules() if isinstance(module, nn.Conv2d))
        assert first.out_channels == 8
        x = images()
        assert_same(small(x), model(x))

    def test_hooks_of_layers_are_kept(self):
        model, seen = bottleneck(), []
        model[1].register_forward_hook(lambda module, args, output: seen.append(type(module)))
        small = dyc.compact(model, **SIZE)
        seen.clear()
        small(images())
        assert seen == [nn.Sequential]

    def test_a_network_like_condensenet(self):
        """1x1 layers of which half the channels are closed, then grouped convolutions, which stay as they are."""
        model = timm.create_model("select_condensenet182", num_classes=10, layers=(2, 1, 1), growth=(4, 8, 8))
        use(model).eval()
        small = dyc.compact(model)
        assert parameters(small) == dyc.selective_layers(model).effective_parameters
        x = torch.randn(2, 3, 32, 32)
        assert_same(small(x), model(x))
