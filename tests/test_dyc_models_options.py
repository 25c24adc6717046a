"""What the models can be asked for when they are created."""

from collections import Counter

import pytest
import timm
import torch

import dyc


def test_recipe_options_reach_the_layers():
    model = timm.create_model(
        "dyc_mobilenetv2_cifar", num_kernels=3, temperature=5.0, where=r"conv_dw$", attention="dy", backend="eager"
    )
    layers = [layer for _, layer in dyc.iter_dynamic(model)]
    assert len(layers) == 17
    for layer in layers:
        assert (layer.num_kernels, layer.attention.temperature.item(), layer.backend) == (3, 5.0, "eager")
        assert not layer.attention.per_channel


def test_dynamic_head():
    model = timm.create_model("dy_mobilenetv2_035", dynamic_head=True)
    assert isinstance(model.conv_head, dyc.DynamicConv2d)
    assert not isinstance(timm.create_model("dy_mobilenetv2_035").conv_head, dyc.DynamicConv2d)


def test_dynamic_head_of_mobilenetv3_takes_the_last_stage_along():
    model = timm.create_model("dy_mobilenetv3_small", device="meta")
    with_head = timm.create_model("dy_mobilenetv3_small", dynamic_head=True, device="meta")
    added = {name for name, _ in dyc.iter_dynamic(with_head)} - {name for name, _ in dyc.iter_dynamic(model)}
    assert added == {"blocks.5.0.conv", "conv_head"}


def test_dynamic_shortcut():
    model = timm.create_model("dy_resnet10", device="meta")
    with_shortcuts = timm.create_model("dy_resnet10", dynamic_shortcut=True, device="meta")
    added = {name for name, _ in dyc.iter_dynamic(with_shortcuts)} - {name for name, _ in dyc.iter_dynamic(model)}
    assert added == {f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)}
    everything = timm.create_model("dy_resnet10", where="all_but_stem", dynamic_shortcut=True, device="meta")
    assert len(list(dyc.iter_dynamic(everything))) == 11


@pytest.mark.parametrize(
    ("name", "switch"), [("dy_resnet10", "dynamic_head"), ("dy_mobilenetv3_small", "dynamic_shortcut")]
)
def test_a_switch_without_a_convolution_is_an_error(name, switch, raises):
    with raises(switch, "cannot be True, as the network has no such convolution"):
        timm.create_model(name, **{switch: True}, device="meta")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("dyc_mobilenetv1", {(3, 256): 1, (3, 512): 6, (3, 1024): 1}),
        ("dyc_mobilenetv3_small", {(5, 96): 1, (5, 240): 2, (5, 120): 1, (5, 144): 1, (5, 288): 1, (5, 576): 2}),
        (
            "dyc_mobilenetv3_large",
            {(3, 240): 1, (3, 200): 1, (3, 184): 2, (3, 480): 1, (3, 672): 1, (5, 672): 1, (5, 960): 2},
        ),
    ],
)
def test_depthwise_layers_that_dyc_makes_dynamic(name, layers):
    found = Counter(
        (layer.kernel_size[0], layer.groups)
        for _, layer in dyc.iter_dynamic(timm.create_model(name, device="meta"))
        if layer.groups == layer.in_channels == layer.out_channels
    )
    assert found == layers


def test_grouped_layers_that_dyc_makes_dynamic():
    layers = dict(dyc.iter_dynamic(timm.create_model("dyc_resnext50_32x4d", device="meta")))
    assert set(layers) == {f"layer3.{i}.conv2" for i in range(6)} | {f"layer4.{i}.conv2" for i in range(3)}
    assert {(layer.kernel_size, layer.groups) for layer in layers.values()} == {((3, 3), 32)}


def test_squeeze_and_excitation_stays_static():
    for name in ("dy_mobilenetv3_small", "dy_mobilenetv3_large"):
        assert not any(".se." in layer for layer, _ in dyc.iter_dynamic(timm.create_model(name, device="meta")))


def test_kernels_start_different():
    for _, layer in dyc.iter_dynamic(timm.create_model("dyc_mobilenetv2_cifar")):
        assert not torch.equal(layer.weight[0], layer.weight[1])


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="num_kernel"):
        timm.create_model("dyc_mobilenetv2_cifar", num_kernel=3)


@pytest.mark.parametrize("option", ["stem_stride", "stage2_stride"])
def test_strides_of_the_cifar_network(option):
    model = timm.create_model("mobilenetv2_cifar", **{option: 2}).eval()
    assert model.forward_features(torch.randn(2, 3, 32, 32)).shape == (2, 1280, 2, 2)
    with pytest.raises(ValueError, match=f"{option}: got 3; need 1 or 2"):
        timm.create_model("mobilenetv2_cifar", **{option: 3})


@pytest.mark.parametrize("attention", ["dy", "dyc", "eam", "condconv", "odconv"])
@pytest.mark.parametrize(
    "name", ["dy_mobilenetv2_035", "dyc_mobilenetv2_cifar", "eam_mobilenetv1_025", "gap_mobilenetv1_025"]
)
def test_every_kind_of_attention_on_every_mechanism(name, attention):
    """The arguments that a network gives its own kind are no arguments of another one."""
    model = timm.create_model(name, attention=attention)
    kinds = {type(layer.attention) for _, layer in dyc.iter_dynamic(model)}
    expected = dyc.DynamicConv2d(16, 16, 3, groups=16, attention=attention).attention
    assert kinds == {type(expected)}


@pytest.mark.parametrize(
    ("name", "got", "message"),
    [
        ("dynet_mobile_100", 0, ("0", "at least 1")),
        ("dynet_resnet18", "4", ("'4'", "an int")),
        ("fix_mobile_100", 4, ("static kernels; leave it out",)),
        ("fix_shuffle_100", 1, ("static kernels; leave it out",)),
    ],
)
def test_numbers_of_kernels_that_a_network_cannot_have(name, got, message, raises):
    with raises("num_kernels", *message):
        timm.create_model(name, num_kernels=got)
