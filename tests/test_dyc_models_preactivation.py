"""Networks with pre-activation: their exact sizes, their weights at the start, and their structure."""

import math
from itertools import pairwise

import pytest
import timm
import torch
from torch import nn

import dyc

# Derived from the structures of SelectConv, http://proceedings.mlr.press/v97/jeong19c.html, which prints 0.21M, 1.00M,
# 1.66M, 33.8M and 22.8M.
PARAMETERS = {
    "densenet40": 211_978,
    "densenet100": 995_698,
    "preresnet164": 1_661_274,
    "resnext29_8x64d": 33_751_370,
    "condensenet182": 13_792_906,
    "preresnet50": 22_780_456,
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    model = timm.create_model(name, device="meta")
    assert parameters(model) == PARAMETERS[name]
    classes, grey = (timm.create_model(name, device="meta", **{key: 1}) for key in ("num_classes", "in_chans"))
    assert parameters(model) - parameters(classes) == (model.num_classes - 1) * (model.num_features + 1)
    assert parameters(model) - parameters(grey) == 2 * model.conv_stem.weight[:, 0].numel()


def test_macs_of_densenet_by_hand():
    macs, channels = 32 * 32 * 9 * 3 * 24, 24
    for pixels in (32 * 32, 16 * 16, 8 * 8):
        for _ in range(6):
            macs += pixels * (channels * 48 + 9 * 48 * 12)
            channels += 12
    assert dyc.profile(timm.create_model("densenet40", device="meta"), (3, 32, 32)).macs == macs + channels * 10


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_convolution_but_the_stem_follows_a_norm_and_an_activation_of_its_own(name):
    """In the order of a block; none of them has a bias, and no module is used twice."""
    model = timm.create_model(name, device="meta")
    kinds = (nn.BatchNorm2d, nn.ReLU, nn.Conv2d)
    names, layers = zip(*((n, m) for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, kinds)))
    assert len(set(layers)) == len(layers)
    assert names[0] == "conv_stem"
    assert names[-2:] == ("norm_head", "act_head")
    for norm, act, conv in zip(layers[1:-2:3], layers[2:-2:3], layers[3:-2:3], strict=True):
        assert [type(layer) for layer in (norm, act, conv)] == list(kinds)
        assert norm.num_features == conv.in_channels
        assert conv.bias is None


@pytest.mark.parametrize("name", ["densenet40", "preresnet50"])
def test_weights_at_the_start(name):
    model = timm.create_model(name)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            spread = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            count = module.weight.numel()
            assert abs(module.weight.mean()) < 5 * spread / math.sqrt(count)
            assert abs(module.weight.std() / spread - 1) < 5 / math.sqrt(2 * count)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
    assert model.classifier.bias.eq(0).all()


@pytest.mark.parametrize("name", ["densenet40", "preresnet164"])
def test_a_stem_for_larger_images(name):
    model = timm.create_model(name, stem_stride=2, device="meta")
    assert model.forward_features(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, model.num_features, 8, 8)
    assert [level["reduction"] for level in model.feature_info] == [2, 4, 8]
    with pytest.raises(ValueError, match="stem_stride: got 3; need 1 or 2"):
        timm.create_model(name, stem_stride=3)


def test_growth_by_stage(raises):
    model = timm.create_model("densenet40", layers=(1, 2, 1), growth=(4, 6, 8), device="meta")
    assert [level["num_chs"] for level in model.feature_info] == [8 + 4, 12 + 12, 24 + 8]
    with raises("growth", "(4, 6)", "each of 3 stages"):
        timm.create_model("densenet40", growth=(4, 6))


def test_a_dense_layer_keeps_its_input():
    stage = timm.create_model("densenet40", layers=(2, 2, 2), growth=4).eval().blocks[0]
    x = torch.randn(2, 8, 6, 6)
    outputs = [x, *(stage[: i + 1](x) for i in range(2))]
    for before, after in pairwise(outputs):
        assert torch.equal(after[:, : before.shape[1]], before)


def test_shortcuts_are_the_input_and_zeros():
    model = timm.create_model("preresnet164", layers=(1, 1, 1), planes=(4, 8, 16)).eval()
    block = model.blocks[0][0]
    nn.init.zeros_(block.conv3.weight)
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(x), x)
    pool, block = model.blocks[1]
    nn.init.zeros_(block.conv3.weight)
    y = model.blocks[1](x)
    assert torch.equal(y[:, :16], pool(x))
    assert y.shape[1] == 32
    assert not y[:, 16:].any()


def test_only_condensenet_drops_activations():
    for name, layers in {"densenet40": 0, "resnext29_8x64d": 0, "condensenet182": 90}.items():
        model = timm.create_model(name, device="meta")
        dropped = [key for key, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p == 0.1]
        assert len(dropped) == layers
        assert all(key.endswith("drop1") for key in dropped)


def test_groups_of_condensenet_are_quarters_in_order():
    layer = timm.create_model("condensenet182", layers=(1, 1, 1), growth=4).eval().blocks[0][0]
    y = torch.randn(1, 16, 5, 5)
    before, after = layer.conv2(y), layer.conv2(torch.cat((y[:, :4] + 1, y[:, 4:]), 1))
    assert not torch.isclose(after[:, :1], before[:, :1]).any()
    assert torch.equal(after[:, 1:], before[:, 1:])
