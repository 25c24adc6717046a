"""Networks that classify every pixel, on any backbone."""

import pytest
import timm
import torch
from safetensors.torch import save_file

import dyc
from dyc.segmentation import SegmentationNetwork, create_backbone, create_segmentation
from dyc.segmentation.backbone import whole
from ops import ArgumentError

IMAGES = torch.rand(2, 3, 33, 48)


@pytest.mark.parametrize("head", ["fcn", "deeplabv3"])
@pytest.mark.parametrize("name", ["test_resnet", "dynet_resnet18", "dyc_mobilenetv2_035", "test_byobnet"])
def test_logits_for_every_pixel(name, head):
    net = create_segmentation(name, 5, head=head, output_stride=16, auxiliary=True)
    logits, auxiliary = net(IMAGES)
    assert logits.shape == auxiliary.shape == (2, 5, 33, 48)
    (logits.sum() + auxiliary.sum()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []  # DistributedDataParallel waits for all
    assert net.eval()(IMAGES).shape == (2, 5, 33, 48)


def test_heads_read_the_last_two_levels():
    net = create_segmentation("test_resnet", 5, auxiliary=True)
    channels = net.backbone.feature_info.channels()
    assert (net.aux_classifier[0].in_channels, net.classifier[0].in_channels) == tuple(channels)
    assert net.classifier[0].out_channels == channels[1] // 4  # torchvision's FCNHead
    assert [level.shape[-2:] for level in net.backbone(torch.rand(1, 3, 64, 32))] == [(8, 4)] * 2


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "ghostnet_100", "test_convnext"])
def test_networks_without_an_output_stride_are_dilated(name):
    with torch.device("meta"):
        net = create_backbone(name, 8)
        assert net(torch.empty(1, 3, 64, 64))[-1].shape[-2:] == (8, 8)


def test_what_is_no_backbone_is_said():
    with pytest.raises(ArgumentError, match="output_stride: 8 is not reached"):
        create_backbone("test_vit", 8)
    with pytest.raises(ArgumentError, match="output_stride: got 32; need at most 4, the network's own"):
        create_backbone("densenet40", 32)
    with pytest.raises(ArgumentError, match=r"head: got 'fnc' .*did you mean 'fcn'"):
        create_segmentation("test_resnet", 5, head="fnc")


def test_a_backbone_is_made_dynamic_by_the_names_of_its_classifier():
    net = create_segmentation("mobilenetv2_035", 5)
    dyc.make_dynamic(whole(net.backbone), "dyc", where=r"^blocks\.[3-6]\..*conv_dw$")
    assert len(list(dyc.iter_dynamic(net))) == 11
    assert net.eval()(IMAGES).shape == (2, 5, 33, 48)


def test_operations_of_dynet_s_table():
    # Published: 310.8 and 95.6 GFLOPs; experiments/papers/dynet.yaml says what is known about the difference.
    with torch.device("meta"):
        static, dynamic = (create_segmentation(name, 19) for name in ("resnet50", "dynet_resnet50"))
    assert round(dyc.profile(static, (3, 768, 768)).count("conv") / 1e9, 1) == 311.3
    assert round(dyc.profile(dynamic, (3, 768, 768)).count("conv") / 1e9, 1) == 79.1


def test_any_module_with_feature_info_is_a_backbone():
    net = SegmentationNetwork(create_backbone("test_resnet", 32), 3)
    assert net.aux_classifier is None
    assert net(IMAGES).shape == (2, 3, 33, 48)


@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 8), ("dynet_resnet18", 16), ("dla46x_c", 32)])
def test_a_backbone_begins_with_the_weights_of_a_classifier_of_any_classes(name, stride, tmp_path):
    classifier = timm.create_model(name, num_classes=7).eval()
    save_file(classifier.state_dict(), tmp_path / "model.safetensors")
    backbone = create_backbone(name, stride, checkpoint_path=tmp_path).eval()  # the folder, or the file
    known = {value.double().sum().item() for value in classifier.state_dict().values()}
    assert len(known) > 10
    assert {value.double().sum().item() for value in backbone.state_dict().values()} <= known
    create_segmentation(name, 3, output_stride=stride, checkpoint_path=str(tmp_path / "model.safetensors"))


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(timm.create_model("test_byobnet").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="loading state_dict"):
        create_backbone("test_resnet", checkpoint_path=tmp_path)
