"""Exact numbers of parameters and multiply-accumulates, as published or as derived from what is published."""

import pytest
import timm
import torch
from torch import nn

import dyc
from dyc.models.resnet import RESNET10

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


def test_macs_with_stride_2_in_the_second_stage():
    """Some read stride 2 from the tuple of the author's file, which ends with it; that cannot give the printed 0.09G.

    The file has stride 1 there.
    """
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
        model = timm.create_model(f"dy_mobilenetv2_{width}", dynamic_head=dynamic_head, device="meta")
        assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.3f}" == millions


def test_exact_parameters_of_dynamic_convolution_mobilenetv2():
    count = {head: dyc.profile(timm.create_model("dy_mobilenetv2", dynamic_head=head)) for head in (False, True)}
    assert (count[False].parameters, count[True].parameters) == (11_149_736, 12_404_540)
    # The paper's own formula of the extra cost includes the mixing.
    assert f"{(count[False].macs + count[False].mixing_macs) / 1e6:.1f}" == "310.2"
    assert f"{dyc.profile(timm.create_model('mobilenetv2_100')).macs / 1e6:.1f}" == "300.8"


def test_parameters_of_dynamic_convolution_resnet18():
    """Later papers print 45.47M: 3x3 convolutions and shortcuts dynamic, hidden C//4, both biases."""
    model = timm.create_model("dy_resnet18", dynamic_shortcut=True, device="meta")
    assert sum(p.numel() for p in model.parameters()) == 45_472_052


# Static networks in MACs alone; the dynamic ones in parameters, MACs and MACs of mixing, from the layers' shapes.
# Chen et al. print 42.7M for ResNet-18, which is 44.8M if their millions are 2**20, and 4.8M for MobileNetV3-Small.
DYNAMIC_NETWORKS = {
    "dy_resnet10": ("resnet10", 19_686_008, 889.2, 889.3, 18.9),
    "dy_resnet18": ("resnet18", 44_933_880, 1814.1, 1814.4, 43.9),
    "dy_resnet50": ("resnet50", 92_223_960, 4089.2, 4093.8, 82.7),
    "dy_mobilenetv3_small": ("mobilenetv3_small_100", 4_209_226, 56.5, 57.0, 1.6),
    "dy_mobilenetv3_large": ("mobilenetv3_large_100", 10_960_602, 216.6, 218.2, 5.1),
    "dyc_mobilenetv1": ("mobilenetv1_100", 7_747_368, 568.7, 572.1, 0.2),
    "dyc_resnext50_32x4d": ("resnext50_32x4d", 34_963_752, 4230.5, 4236.4, 5.3),
}


@pytest.mark.parametrize("name", DYNAMIC_NETWORKS)
def test_counts_of_dynamic_networks(name):
    static, parameters, static_macs, macs, mixing = DYNAMIC_NETWORKS[name]
    network = timm.create_model(name, device="meta")
    profile = dyc.profile(network)
    assert profile.parameters == parameters
    assert (round(profile.macs / 1e6, 1), round(profile.mixing_macs / 1e6, 1)) == (macs, mixing)
    plain = dyc.profile(RESNET10(device="meta") if static == "resnet10" else timm.create_model(static, device="meta"))
    assert round(plain.macs / 1e6, 1) == static_macs
    # What is dynamic adds K - 1 kernels and a branch: its parameters without the biases are its MACs.
    added = branch = biases = 0
    for _, layer in dyc.iter_dynamic(network):
        added += (layer.num_kernels - 1) * layer.weight[0].numel()
        branch += sum(p.numel() for n, p in layer.attention.named_parameters() if n.endswith("weight"))
        biases += sum(p.numel() for n, p in layer.attention.named_parameters() if n.endswith("bias"))
    assert profile.parameters - plain.parameters == added + branch + biases
    assert profile.macs - plain.macs == branch


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
