"""Arguments of EAM-DyNet's networks."""

import pytest
import timm
import torch
from torch import nn

import dyc
from dyc.models import eam


def test_every_convolution_but_the_stem_is_dynamic():
    for name in ("eam_mobilenetv1_025", "gap_mobilenetv2", "eam_mobilenetv3_small"):
        model = timm.create_model(name)
        static = {name for name, module in model.named_modules() if type(module) is nn.Conv2d}
        squeezing = {name for name in static if ".se." in name}
        assert static - squeezing == {"conv_stem"}
        assert bool(squeezing) == ("v3" in name)
        assert isinstance(model.classifier, nn.Linear)


def test_arguments_of_the_selection_reach_the_layers():
    arguments = {"select": "cgr", "channels": 2, "pool_size": 3, "pool": "max", "temperature": 4.0}
    model = timm.create_model("eam_mobilenetv1_025", **arguments)
    for _, layer in dyc.iter_dynamic(model):
        branch = layer.attention
        assert (branch.select.count, branch.pool_size, branch.pool, branch.temperature.item()) == (2, 3, "max", 4.0)
        assert not branch.select.maximum
    same = timm.create_model("eam_mobilenetv1_025", attention_kwargs={"select": "cgr", "channels": 2, "pool_size": 3})
    same.load_state_dict(model.state_dict())
    grouped = timm.create_model("eam_mobilenetv1_cgr_025")
    assert {layer.attention.select.count for _, layer in dyc.iter_dynamic(grouped)} == {4}


def test_random_channels_travel_with_the_weights():
    one, other = (timm.create_model("eam_mobilenetv1_025").eval() for _ in range(2))
    x = torch.randn(1, 3, 32, 32)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


def test_a_stem_that_keeps_the_resolution():
    model = timm.create_model("eam_mobilenetv1_025", stem_stride=1, features_only=True)
    assert model.feature_info.reduction() == [1, 2, 4, 8, 16]
    assert [level.shape[2] for level in model(torch.randn(1, 3, 32, 32))] == [32, 16, 8, 4, 2]
    with pytest.raises(ValueError, match="stem_stride: got 3; need 1 or 2"):
        timm.create_model("eam_mobilenetv1_025", stem_stride=3)


def test_an_argument_of_another_selection_is_an_error():
    with pytest.raises(ValueError, match="quarter: has no meaning with select='rcr'"):
        timm.create_model("eam_mobilenetv1_025", quarter=1)
    with pytest.raises(ValueError, match="need what 'dy' takes"):
        timm.create_model("gap_mobilenetv1_025", select="rcr")


def test_the_first_block_of_mobilenetv2_expands():
    block = eam.mobilenetv2().blocks[0][0]
    assert (block.conv_pw.in_channels, block.conv_pw.out_channels) == (32, 32)
    assert eam.mobilenetv1(1.0, num_classes=100).num_features == 1024
