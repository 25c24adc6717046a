"""What the models can be asked for when they are created."""

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


def test_dropout_acts_in_training_only():
    model = timm.create_model("mobilenetv2_cifar", drop_rate=0.5)
    features = torch.ones(2, 1280, 4, 4)
    dropped = model.train().forward_head(features, pre_logits=True)
    assert 0.4 < (dropped == 0).float().mean() < 0.6
    assert torch.equal(model.eval().forward_head(features, pre_logits=True), torch.ones(2, 1280))
