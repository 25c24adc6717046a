"""attention_statistics: what entropy and variation say, and that the model is left as it was."""

import pytest
import timm
import torch
from torch import nn

import dyc


class Given(nn.Module):
    """An attention whose weights are given, sample by sample."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        return self.weights


def statistics(weights: torch.Tensor):
    layer = dyc.DynamicConv2d(4, 4, 1, num_kernels=weights.shape[1], attention=Given(weights))
    return dyc.attention_statistics(nn.Sequential(layer), torch.randn(len(weights), 4, 3, 3))["0"]


@pytest.mark.parametrize("channels", [(), (4,)], ids=["per_kernel", "per_channel"])
def test_uniform_attention_has_entropy_one_and_no_variation(channels):
    found = statistics(torch.full((5, 4, *channels), 0.25))
    assert found.entropy == pytest.approx(1)
    assert found.variation == 0


@pytest.mark.parametrize("channels", [(), (4,)], ids=["per_kernel", "per_channel"])
def test_the_mean_weight_of_each_kernel_is_over_inputs_and_channels(channels):
    weights = torch.rand(5, 3, *channels)
    expected = [weights[:, k].mean().item() for k in range(3)]
    assert statistics(weights).kernels == pytest.approx(expected)


def test_one_kernel_for_all_inputs_has_neither():
    found = statistics(torch.eye(4)[:1].expand(5, -1))
    assert found.entropy == 0
    assert found.variation == 0


def test_one_kernel_for_each_input_has_variation_only():
    found = statistics(torch.eye(4))
    assert found.entropy == 0
    # Each weight is 1 for one input of four, 0 for the others.
    assert found.variation == pytest.approx((0.25 * 0.75) ** 0.5)


def test_entropy_is_the_share_of_its_maximum():
    assert statistics(torch.tensor([[0.5, 0.5, 0.0, 0.0]])).entropy == pytest.approx(0.5)


def test_a_single_kernel_is_uniform():
    assert statistics(torch.ones(3, 1)) == dyc.analysis.AttentionStatistics(1.0, 0.0, (1.0,))


def test_temperature_moves_the_entropy():
    model, x = timm.create_model("dyc_mobilenetv2_cifar"), torch.randn(2, 3, 32, 32)
    dyc.set_temperature(model, 1e6)
    hot = dyc.attention_statistics(model, x)
    dyc.set_temperature(model, 1e-5)  # the logits of an untrained network are small
    cold = dyc.attention_statistics(model, x)
    assert list(hot) == list(cold) == [name for name, _ in dyc.iter_dynamic(model)]
    assert all(statistics.entropy == pytest.approx(1) for statistics in hot.values())
    assert all(cold[name].entropy < hot[name].entropy for name in hot)
    assert all(cold[name].variation > hot[name].variation for name in hot)


@pytest.mark.parametrize("images", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_images_of_another_type_than_the_weights(weights, images):
    model, x = nn.Sequential(dyc.DynamicConv2d(4, 4, 3, attention="dyc")), torch.randn(3, 4, 5, 5).bfloat16()
    expected = dyc.attention_statistics(model, x.float())["0"]
    found = dyc.attention_statistics(model.to(weights), x.to(images))["0"]
    assert (found.entropy, found.variation) == pytest.approx((expected.entropy, expected.variation), abs=0.01)


def test_a_static_model_has_no_statistics():
    assert dyc.attention_statistics(timm.create_model("mobilenetv2_cifar"), torch.randn(1, 3, 32, 32)) == {}


def test_the_model_is_left_as_it_was():
    model = timm.create_model("dyc_mobilenetv2_cifar").train()
    model.bn1.eval()  # a frozen norm stays frozen
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    dyc.attention_statistics(model, torch.randn(2, 3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_model_is_left_as_it_was_after_an_error():
    model = timm.create_model("dyc_mobilenetv2_cifar").train()
    with pytest.raises(RuntimeError):
        dyc.attention_statistics(model, torch.randn(2, 5, 32, 32))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
