"""Exact numbers of parameters and multiply-accumulates, as published or as derived from what is published."""

import pytest
import timm
import torch
from torch import nn

import dyc

# Jung, Dynamic Channel-wise Convolution, 2020, Table 2: 2.3M / 0.09G, 3.58M / 0.09G, 8.01M / 0.10G.
DYC_REPORT = {
    "mobilenetv2_cifar": (2_296_922, 2_412_212, 91_154_944),
    "dy_mobilenetv2_cifar": (3_577_458, 3_692_748, 92_264_364),
    "dyc_mobilenetv2_cifar": (8_008_538, 8_123_828, 96_670_144),
}


@pytest.mark.parametrize("name", DYC_REPORT)
def test_parameters_and_macs_of_the_dyc_report(name):
    ten, hundred, macs = DYC_REPORT[name]
    profile = dyc.profile(timm.create_model(name), (3, 32, 32))
    assert (profile.parameters, profile.macs) == (ten, macs)
    assert dyc.profile(timm.create_model(name, num_classes=100), (3, 32, 32)).parameters == hundred


def test_macs_of_the_report_authors_stride():
    """The author's published file has stride 2 in the second stage, which cannot give the printed 0.09G."""
    profile = dyc.profile(timm.create_model("mobilenetv2_cifar", stage2_stride=2), (3, 32, 32))
    # Without stride 1 the stage's first block has no convolution (and norm) in its shortcut.
    assert profile.parameters == 2_296_922 - (16 * 24 + 2 * 24)
    assert f"{profile.macs / 1e6:.1f}" == "26.3"


@pytest.mark.parametrize(("name", "parameters"), [("dy", 3_632_066), ("dyc", 8_194_138)])
def test_all_seventeen_depthwise_convolutions(name, parameters):
    model = timm.create_model(f"{name}_mobilenetv2_cifar", where="depthwise")
    assert len(list(dyc.iter_dynamic(model))) == 17
    assert dyc.profile(model, (3, 32, 32)).parameters == parameters


# Hidden widths and biases of the attention are told apart by these: the report's own are C//4 + 1 without a bias.
@pytest.mark.parametrize(
    ("attention_kwargs", "dy", "channelwise"),
    [({"rd_extra": 0}, 3_571_078, 7_976_858), ({"fc1_bias": True}, 3_579_053, 8_010_133)],
    ids=["hidden_without_the_extra_one", "bias_in_fc1"],
)
def test_other_attention_branches_as_arguments(attention_kwargs, dy, channelwise):
    for name, parameters in (("dy_mobilenetv2_cifar", dy), ("dyc_mobilenetv2_cifar", channelwise)):
        model = timm.create_model(name, attention_kwargs=attention_kwargs)
        assert sum(p.numel() for p in model.parameters()) == parameters


# Chen et al., https://arxiv.org/abs/1912.03458, print 11.1M and 4.0M; later papers make the head dynamic as well.
@pytest.mark.parametrize(
    ("width", "blocks", "with_head"),
    [("100", "11.150", "12.405"), ("075", "7.012", "7.948"), ("050", "3.946", "4.567"), ("035", "2.687", "3.120")],
)
def test_parameters_of_dynamic_convolution_mobilenetv2(width, blocks, with_head):
    for dynamic_head, millions in ((False, blocks), (True, with_head)):
        model = timm.create_model(f"dy_mobilenetv2_{width}", dynamic_head=dynamic_head)
        assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.3f}" == millions


def test_exact_parameters_of_dynamic_convolution_mobilenetv2():
    count = {head: dyc.profile(timm.create_model("dy_mobilenetv2", dynamic_head=head)) for head in (False, True)}
    assert (count[False].parameters, count[True].parameters) == (11_149_736, 12_404_540)
    # The paper's own formula of the extra cost includes the mixing.
    assert f"{(count[False].macs + count[False].mixing_macs) / 1e6:.1f}" == "310.2"
    assert f"{dyc.profile(timm.create_model('mobilenetv2_100')).macs / 1e6:.1f}" == "300.8"


def test_parameters_of_dynamic_convolution_resnet18():
    """Later papers print 45.47M: 3x3 convolutions and shortcuts dynamic, hidden C//4, both biases."""
    model = dyc.make_dynamic(
        timm.create_model("resnet18"), "dy", where="all_but_stem", attention_kwargs={"rd_extra": 0, "fc1_bias": True}
    )
    assert sum(p.numel() for p in model.parameters()) == 45_472_052


class TestProfile:
    def test_one_layer_by_hand(self):
        model = nn.Sequential(dyc.DynamicConv2d(8, 16, 3, stride=2, padding=1, groups=4, attention="dyc"))
        profile = dyc.profile(model, (8, 10, 12))
        rows = {row.name: row for row in profile.layers}
        assert set(rows) == {"0", "0.attention.fc1", "0.attention.fc2"}
        assert rows["0"].parameters == 4 * 16 * 2 * 9 + 4 * 16
        assert rows["0"].macs == 5 * 6 * 16 * 2 * 9
        assert rows["0"].mixing_macs == 4 * 16 * 2 * 9 + 4 * 16
        assert rows["0.attention.fc1"].macs == 8 * 3
        assert rows["0.attention.fc2"].macs == 3 * 64
        assert rows["0.attention.fc2"].parameters == 3 * 64 + 64
        assert profile.macs == sum(row.macs for row in profile.layers)
        assert profile.mixing_macs == rows["0"].mixing_macs
        assert profile.parameters == sum(row.parameters for row in profile.layers)

    def test_the_model_is_not_changed(self):
        model = timm.create_model("dyc_mobilenetv2_cifar").train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        dyc.profile(model, (3, 32, 32))
        assert model.training
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())

    def test_its_table_ends_with_the_totals(self):
        *_, total = str(dyc.profile(timm.create_model("dyc_mobilenetv2_cifar"), (3, 32, 32))).splitlines()
        assert total.split()[:3] == ["total", "8,008,538", "96,670,144"]
