"""make_selective: which layers it converts, and that nothing else changes."""

import copy
import warnings

import pytest
import timm
import torch
from support.work import work
from timm.layers import BatchNormAct2d
from torch import nn

import dyc
import ops

SIZE = {"input_size": (4, 8, 8)}


class Bottleneck(nn.Module):
    """Pre-activation, with a shortcut."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.norm1, self.act1 = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm2, self.act2 = nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.act2(self.norm2(self.conv1(self.act1(self.norm1(x))))))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 8, 1), Bottleneck(8, 6), Bottleneck(8, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lively(model: nn.Module) -> nn.Module:
    """Let every norm count."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in dyc.iter_selective(model)]


class TestTheSameComputation:
    @pytest.mark.parametrize(
        ("name", "kwargs", "count"),
        [
            ("densenet121", {"block_config": (1, 2, 1, 1)}, 13),
            ("resnetv2_50", {"layers": (2, 1, 1)}, 9),  # norm1 of three blocks feeds the shortcut too
            ("resnet26", {"layers": (1, 1, 1, 1)}, 8),  # post-activation: inside the blocks
        ],
    )
    def test_of_timms_models(self, name, kwargs, count):
        model = lively(timm.create_model(name, num_classes=10, **kwargs))
        x = torch.randn(2, 3, 64, 64)
        other = copy.deepcopy(model)
        before = {id(p) for p in model.parameters()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert dyc.make_selective(model) is model
        assert len(names(model)) == count
        assert {id(p) for p in model.parameters() if p.shape[-1] != 2} == before, "parameters were copied"
        for mode in (True, False):  # training changes the running statistics
            assert torch.equal(model.train(mode)(x), other.train(mode)(x))
        with torch.no_grad():
            for _, layer in dyc.iter_selective(model):
                layer.mask.fill_(False)
                layer.refresh()
        assert not torch.equal(model(x), other(x)), "the layers are not in use"

    def test_of_a_network_that_is_selective_already(self):
        with pytest.raises(ops.ArgumentError, match=r"model: got .* \(4 layers are selective already\)"):
            dyc.make_selective(dyc.make_selective(network(), **SIZE), **SIZE)

    def test_places(self):
        block = dyc.make_selective(network(), **SIZE)[1]
        assert all(type(part) is nn.Identity for part in (block.norm1, block.act1, block.norm2, block.act2))
        assert block.conv1.conv.kernel_size == (1, 1)
        assert type(block.conv1.act) is nn.ReLU

    def test_a_norm_that_has_its_activation_in_it(self):
        model = nn.Sequential(nn.Conv2d(4, 6, 1), BatchNormAct2d(6), nn.Conv2d(6, 4, 1))
        dyc.make_selective(model, **SIZE)
        assert type(model[2].norm) is BatchNormAct2d
        assert type(model[2].act) is nn.Identity

    def test_a_layer_of_two_names_stays_one(self):
        model = network()
        model[1].also = model[1].conv1
        dyc.make_selective(model, **SIZE)
        assert type(model[1].conv1) is dyc.SelectiveConv2d
        assert model[1].also is model[1].conv1

    def test_modes_types_and_frozen_parameters_are_kept(self):
        model = network().double()
        model[1].norm1.eval()
        model[1].conv1.weight.requires_grad_(False)
        dyc.make_selective(model, **SIZE)
        layer, other = model[1].conv1, model[2].conv1
        assert not layer.norm.training
        assert other.norm.training
        assert layer.training
        assert {p.dtype for p in model.parameters()} == {torch.float64}
        assert not layer.conv.weight.requires_grad
        assert not layer.shift.requires_grad
        assert other.shift.requires_grad

    def test_no_random_number_is_drawn(self):
        model = network()
        state = torch.get_rng_state()
        dyc.make_selective(model, **SIZE)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_model_without_data(self):
        with torch.device("meta"):
            model = network()
        assert len(names(dyc.make_selective(model, **SIZE))) == 4
        assert all(tensor.is_meta for tensor in model.state_dict().values())

    def test_of_a_network_that_returns_features(self):
        model = lively(timm.create_model("densenet121", block_config=(1, 1, 1, 1), features_only=True)).eval()
        x = torch.randn(1, 3, 64, 64)
        want = model(x)
        dyc.make_selective(model)
        assert len(names(model)) == 11
        assert all(map(torch.equal, model(x), want))

    def test_timms_interface_goes_on(self):
        model = dyc.make_selective(timm.create_model("densenet40"))
        model.reset_classifier(3)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)

    def test_the_size_of_an_image_is_the_models_own(self):
        model = timm.create_model("densenet40", in_chans=1)
        assert len(names(dyc.make_selective(model))) == 36

    def test_the_work_grows_with_the_layers_and_not_faster(self):
        found = {}
        for name, layers in (("densenet40", 36), ("densenet100", 96)):
            models = [timm.create_model(name) for _ in range(2)]
            waiting = iter(models)
            done = work(lambda waiting=waiting: dyc.make_selective(next(waiting)))
            assert [len(names(model)) for model in models] == [layers, layers]
            assert done.elements <= 2 * sum(t.numel() for t in models[0].state_dict().values())
            found[name] = done
        small, large = found.values()
        assert large.calls <= 1.25 * 96 / 36 * small.calls
        assert large.operators <= 1.25 * 96 / 36 * small.operators


class TestChoice:
    @pytest.mark.parametrize(
        ("where", "count"),
        [(None, 4), ("conv1", 2), (r"^1\.", 2), (lambda name, conv: conv.in_channels == 4 and name != "0", 1)],
    )
    def test_where(self, where, count):
        assert len(names(dyc.make_selective(network(), where=where, **SIZE))) == count

    @pytest.mark.parametrize(
        ("reallocate", "count"),
        [("pointwise", 2), (True, 4), (False, 0), (r"^1\.", 2), (lambda name, conv: conv.in_channels == 6, 1)],
    )
    def test_reallocate(self, reallocate, count):
        model = dyc.make_selective(network(), reallocate=reallocate, **SIZE)
        assert sum(layer.reallocates for _, layer in dyc.iter_selective(model)) == count

    def test_a_second_call_adds_layers(self):
        model = dyc.make_selective(network(), where="conv1", **SIZE)
        dyc.make_selective(model, where="conv2", **SIZE)
        assert len(names(model)) == 4

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            (
                {"where": "nothing"},
                r"where: got 'nothing', which matches none of its 5 convolutions; need an expression",
            ),
            ({"where": "(conv"}, r"where: got '\(conv'; need a valid regular expression"),
            ({"where": ""}, "where: got ''; need an expression or a callable"),
            ({"where": 3}, "where: got 3; need an expression or a callable"),
            ({"where": "^0$"}, "where: got 1 layer that cannot become selective .0: its input is the image"),
            ({"reallocate": "pointwize"}, r"reallocate: got 'pointwize' \(did you mean 'pointwise'\?\)"),
            (
                {"where": "conv1$", "reallocate": "conv2"},
                r"reallocate: got 'conv2'.*matches convolutions that become selective \(1\.conv1, 2\.conv1\)",
            ),
            ({"reallocate": None}, "reallocate: got None; need True, False, 'pointwise'"),
            ({"unsupported": "warm"}, r"unsupported: got 'warm' \(did you mean 'warn'\?\)"),
            ({"drop_rate": 1}, r"drop_rate: got 1; need a probability in \[0, 1\)"),
            ({"input_size": 8}, r"input_size: got 8; need \(C, H, W\)"),
            (
                {"input_size": (3, 8, 8)},
                r"input_size: got \(3, 8, 8\), with which the model cannot be traced \(.+\); need \(C, H, W\)",
            ),
        ],
    )
    def test_arguments_that_cannot_be_used(self, kwargs, message):
        model = network()
        before = dict(model.named_modules())
        with pytest.raises(ops.ArgumentError, match=message):
            dyc.make_selective(model, **{**SIZE, **kwargs})
        assert dict(model.named_modules()) == before

    @pytest.mark.parametrize("model", ["densenet40", nn.Conv2d(3, 3, 1), dyc.SelectiveConv2d(3, 3, 1)])
    def test_models_that_cannot_be_used(self, model):
        with pytest.raises(ops.ArgumentError, match=r"^model: got "):
            dyc.make_selective(model)


class TestWhatStays:
    def test_the_rest_is_converted_with_one_warning(self):
        model = network()
        model[1].act1 = nn.GELU()
        with pytest.raises(
            ops.ArgumentError, match=r'where: matches 1 layer that .*1\.conv1: .*GELU.*unsupported="warn"'
        ):
            dyc.make_selective(model, unsupported="raise", **SIZE)
        assert not names(model)
        with pytest.warns(UserWarning, match=r"where: matches 1 layer .*1\.conv1.*; left as they are") as warned:
            dyc.make_selective(model, **SIZE)
        assert len(warned) == 1
        assert warned[0].filename == __file__
        assert names(model) == ["1.conv2", "2.conv1", "2.conv2"]

    def test_a_feature_level_stays(self):
        model = network()
        model.feature_info = [{"module": "1.act2", "num_chs": 6, "reduction": 1}]
        with pytest.warns(UserWarning, match=r"1\.conv2: the output of 1\.act2 is a feature level of the model"):
            dyc.make_selective(model, **SIZE)

    def test_no_convolution_at_all(self):
        with pytest.raises(ops.ArgumentError, match="model: got a network in which no convolution follows another"):
            dyc.make_selective(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), **SIZE)

    def test_make_dynamic_says_what_is_in_its_way(self):
        model = dyc.make_selective(network(), **SIZE)
        with pytest.raises(ops.ArgumentError, match=r"1\.conv1\.conv, 2\.conv1\.conv: it belongs to a SelectiveConv2d"):
            dyc.make_dynamic(model, where="conv1")
