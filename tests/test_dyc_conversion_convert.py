"""make_dynamic on timm's models: nothing is lost, the right layers are chosen, what cannot be done is refused."""

import re

import pytest
import timm
import torch
from torch import nn

import dyc
import ops
from dyc.conversion.convert import PRESETS


def lively(name: str, **kwargs) -> nn.Module:
    """Build a timm model whose every branch counts: some norms and layer scales start at (nearly) zero."""
    model = timm.create_model(name, **kwargs).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    for name, parameter in model.named_parameters():
        if name.endswith(".gamma"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def dynamic_names(model: nn.Module) -> list[str]:
    return [name for name, _ in dyc.iter_dynamic(model)]


def conv_names(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("attention", ["dy", "dyc"])
@pytest.mark.parametrize(
    ("name", "where", "count"),
    [
        ("mobilenetv2_035", "depthwise", 17),
        ("mobilenetv3_small_050", "all_but_stem", 52),  # squeeze-and-excitation with biases
        ("resnet10t", "blocks", 11),
        ("regnetx_002", "blocks", 43),  # grouped
        ("convnext_atto", "depthwise", 12),  # 7x7 with biases
        ("densenet121", r"denselayer1\.conv2", 4),
    ],
)
def test_a_copy_computes_what_the_static_model_computed(name, where, count, attention):
    model = lively(name)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        want = model(x)
        assert dyc.make_dynamic(model, attention, where=where, temperature=1.0) is model
        got = model(x)
    assert len(dynamic_names(model)) == count
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()
    with torch.no_grad():  # the layers are in use: without their kernels the output is another
        for _, layer in dyc.iter_dynamic(model):
            layer.weight.zero_()
        assert (model(x) - want).abs().max() > 1e-2 * want.abs().max()


class TestWhere:
    def test_depthwise(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), where="depthwise")
        assert all(layer.groups == layer.in_channels > 1 for _, layer in dyc.iter_dynamic(model))
        assert not any(conv.groups > 1 for conv in model.modules() if isinstance(conv, nn.Conv2d))

    @pytest.mark.parametrize(
        ("name", "static"),
        [
            ("mobilenetv2_035", ["conv_stem", "conv_head"]),
            ("mobilenetv3_small_050", ["conv_stem", "blocks.5.0.conv", "conv_head"]),
            ("resnet10t", ["conv1.0", "conv1.3", "conv1.6"]),
            ("regnetx_002", ["stem.conv"]),
            ("convnext_atto", ["stem.0"]),
            ("densenet121", ["features.conv0"]),
            ("mobilevit_xxs", ["stem.conv", "final_conv.conv"]),
        ],
    )
    def test_blocks_leaves_stem_and_head(self, name, static):
        model = dyc.make_dynamic(timm.create_model(name), "dy", where="blocks", num_kernels=1)
        assert conv_names(model) == static

    @pytest.mark.parametrize(
        ("name", "stem"), [("mobilenetv2_035", ["conv_stem"]), ("resnet10t", ["conv1.0", "conv1.3", "conv1.6"])]
    )
    def test_all_but_stem(self, name, stem):
        model = dyc.make_dynamic(timm.create_model(name), "dy", where="all_but_stem", num_kernels=1)
        assert conv_names(model) == stem

    def test_regular_expression(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), where=r"^blocks\.6\..*conv_pwl?$")
        assert dynamic_names(model) == ["blocks.6.0.conv_pw", "blocks.6.0.conv_pwl"]

    def test_callable(self):
        model = timm.create_model("mobilenetv2_035")
        dyc.make_dynamic(model, where=lambda name, conv: conv.stride == (2, 2) and name != "conv_stem")
        assert [layer.stride for _, layer in dyc.iter_dynamic(model)] == [(2, 2)] * 4

    def test_a_second_call_adds_layers(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), "dyc", where="depthwise")
        dyc.make_dynamic(model, "dy", where="conv_head")
        assert len(dynamic_names(model)) == 18


class TestRefusals:
    """Whatever is refused, the model stays as it was."""

    def refuse(self, name: str, message: str, **kwargs) -> str:
        model = timm.create_model(name)
        before = dict(model.named_modules())
        with pytest.raises(ops.ArgumentError, match=message) as error:
            dyc.make_dynamic(model, **kwargs)
        assert dict(model.named_modules()) == before
        return str(error.value)

    def test_convolutions_that_compute_more_are_named(self):
        message = self.refuse(
            "test_nfnet", "^where: matches 3 layers that cannot become dynamic", where=r"stages\.0.*conv(2|3|2b)$"
        )
        layers = [n for n in conv_names(timm.create_model("test_nfnet")) if re.search(r"stages\.0.*conv(2|3|2b)$", n)]
        assert len(layers) == 3
        assert f"({', '.join(layers)}: its class ScaledStdConv2d computes more than nn.Conv2d" in message

    def test_a_reason_is_given_once_for_all_of_its_layers(self):
        message = self.refuse("nf_resnet26", "^where: matches 28 layers that cannot", where="all_but_stem")
        assert len(message) < 400
        assert message.count("computes more") == 1
        assert " and 25 more: its class ScaledStdConv2d computes more" in message

    def test_another_padding_mode(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"))
        with pytest.raises(ops.ArgumentError, match="1: its padding_mode 'reflect' is not 'zeros'"):
            dyc.make_dynamic(model, where="all_but_stem")
        assert type(model[1]) is nn.Conv2d

    def test_a_later_layer_that_cannot_be_built(self):
        def small(in_channels: int, *sizes: int, **kwargs) -> nn.Module:
            if in_channels > 3:
                raise ops.ArgumentError("in_channels", in_channels, "at most 3")
            return dyc.GlobalAttention(in_channels, *sizes, **kwargs)

        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3))
        with pytest.raises(ops.ArgumentError, match="in_channels: got 4; need at most 3"):
            dyc.make_dynamic(model, small, where=".")
        assert [type(module) for module in model] == [nn.Conv2d, nn.Conv2d]

    @pytest.mark.parametrize(
        ("word", "close"), [("depthwize", "depthwise"), ("block", "blocks"), ("all_but_stems", "all_but_stem")]
    )
    def test_a_misspelt_preset(self, word, close):
        message = self.refuse("resnet10t", rf"where: got '{word}' \(did you mean '{close}'\?\)", where=word)
        assert all(repr(preset) in message for preset in PRESETS)
        assert "layer1.0.conv1" in message, "the model's own names help to write an expression"

    def test_a_preset_that_matches_nothing_is_no_misspelling(self):
        message = "where: got 'depthwise', which matches none of its 14 convolutions; need a preset"
        assert "did you mean" not in self.refuse("resnet10t", message, where="depthwise")

    def test_nothing_left_to_convert(self):
        model = dyc.make_dynamic(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4)))
        with pytest.raises(ops.ArgumentError, match=r"none of its 1 convolutions \(1 layers are dynamic already\)"):
            dyc.make_dynamic(model)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            (
                {"where": r"^nothing\."},
                r"where: got '\^nothing\\\\\.', which matches none of its \d+ convolutions; need a preset",
            ),
            ({"where": "(conv"}, r"where: got '\(conv'; need a valid regular expression"),
            ({"where": lambda name, conv: False}, "where: got <lambda>, which matches none of .*; need a preset"),
            ({"where": ""}, "where: got ''; need a preset"),
            ({"where": 3}, "where: got 3; need a preset"),
            ({"where": None}, "where: got None; need a preset"),
            ({"where": []}, r"where: got \[\]; need a preset"),
            ({"attention": "dycc"}, r"attention: got 'dycc' \(did you mean 'dyc'"),
            ({"attention_kwargs": {"ratio": 1}}, "attention_kwargs: got {'ratio': 1}; need what 'dyc' takes"),
            ({"num_kernels": 0}, "num_kernels: got 0; need at least 1"),
            ({"init": "copied"}, r"init: got 'copied' \(did you mean 'copy'"),
            ({"temperature": -1}, "temperature: got -1; need a positive number"),
            ({"backend": "eagr"}, r"backend: got 'eagr' \(did you mean 'eager'\?\)"),
        ],
    )
    def test_arguments_that_cannot_be_used(self, kwargs, message):
        self.refuse("mobilenetv2_035", message, **kwargs)


@pytest.mark.parametrize("init", ["copy", "independent"])
def test_init(init):
    static = timm.create_model("mobilenetv2_035")
    kernels = {name: module.weight for name, module in static.named_modules() if isinstance(module, nn.Conv2d)}
    for name, layer in dyc.iter_dynamic(dyc.make_dynamic(static, where="depthwise", num_kernels=3, init=init)):
        assert layer.num_kernels == 3
        assert all(torch.equal(kernel, kernels[name]) for kernel in layer.weight) == (init == "copy")
        assert torch.equal(layer.weight[0], layer.weight[1]) == (init == "copy")


def test_geometry_and_biases_are_kept():
    conv = nn.Conv2d(6, 9, (3, 5), stride=(1, 2), padding=(2, 0), dilation=(2, 1), groups=3)
    model = dyc.make_dynamic(nn.Sequential(conv), "dy", where="0", temperature=1.0)
    assert torch.equal(model[0].bias[2], conv.bias)
    x = torch.randn(2, 6, 12, 11)
    torch.testing.assert_close(model(x), conv(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("device", "dtype"), [("cpu", torch.float64), ("meta", torch.float32), ("cpu", torch.bfloat16)]
)
def test_device_dtype_and_mode_are_kept(device, dtype, training):
    model = timm.create_model("mobilenetv2_035", device=device, dtype=dtype).train(training)
    dyc.make_dynamic(model, "dyc", where="depthwise")
    for _, layer in dyc.iter_dynamic(model):
        assert {(t.device.type, t.dtype) for t in layer.state_dict().values()} == {(device, dtype)}
        assert all(module.training == training for module in layer.modules())


def test_options_reach_every_layer():
    model = timm.create_model("mobilenetv2_035")
    dyc.make_dynamic(model, "dyc", temperature=7.0, backend="eager", attention_kwargs={"fc1_bias": True})
    layers = [layer for _, layer in dyc.iter_dynamic(model)]
    assert len(layers) == 17
    assert {layer.attention.temperature.item() for layer in layers} == {7.0}
    assert {layer.backend for layer in layers} == {"eager"}
    assert all(layer.attention.fc1.bias is not None for layer in layers)


def test_state_dict_round_trip():
    models = [dyc.make_dynamic(lively("mobilenetv2_035"), "dyc", init="independent") for _ in range(2)]
    dyc.set_temperature(models[0], 2.0)
    x = torch.randn(1, 3, 64, 64)
    assert not torch.equal(models[1](x), models[0](x))
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(models[1](x), models[0](x))
