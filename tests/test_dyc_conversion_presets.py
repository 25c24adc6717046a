"""What presets of ``where`` leave static: stem, head and classifier of timm's models, torchvision's and plain ones."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import dyc
from dyc.conversion.presets import PRESETS


def left(model: nn.Module, where: str) -> list[str]:
    """Return the names of the convolutions that the preset leaves static."""
    dyc.make_dynamic(model, "dy", where=where, num_kernels=1, unsupported="warn")
    return [row.name for row in dyc.dynamic_layers(model, static=True) if row.static]


BLOCKS_OF_TORCHVISION = {
    "mobilenet_v2": ["features.0.0", "features.18.0"],
    "mobilenet_v3_small": ["features.0.0", "features.12.0"],
    "mnasnet0_5": ["layers.0", "layers.14"],
    "shufflenet_v2_x0_5": ["conv1.0", "conv5.0"],
    "squeezenet1_1": ["features.0", "classifier.1"],
    "vgg11": ["features.0"],
    "resnet18": ["conv1"],
    "convnext_tiny": ["features.0.0"],
}


@pytest.mark.parametrize("name", BLOCKS_OF_TORCHVISION)
def test_blocks_of_torchvision(name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
        assert left(model, "blocks") == BLOCKS_OF_TORCHVISION[name]


def test_blocks_of_a_regnet():
    model = torchvision.models.get_model("regnet_x_400mf", weights=None)  # not to be made on the meta device
    assert left(model, "blocks") == ["stem.0"]


@pytest.mark.parametrize(
    ("name", "static"),
    [
        ("mobilenetv3_large_075", ["conv_stem", "blocks.6.0.conv", "conv_head"]),
        ("rexnet_100", ["stem.conv", "features.16.conv"]),
        ("vgg11_bn", ["features.0", "pre_logits.fc1", "pre_logits.fc2"]),
        ("resnet18", ["conv1"]),
        ("dpn48b", ["features.conv1_1.conv", "classifier"]),
    ],
)
def test_blocks_of_timm(name, static):
    with torch.device("meta"):
        assert left(timm.create_model(name), "blocks") == static


@pytest.mark.parametrize(
    ("name", "static"),
    [
        ("vgg11_bn", ["features.0", "pre_logits.fc1", "pre_logits.fc2"]),
        ("dpn48b", ["features.conv1_1.conv", "classifier"]),
    ],
)
def test_all_but_stem_of_timm(name, static):
    with torch.device("meta"):
        assert left(timm.create_model(name), "all_but_stem") == static


def test_the_convolutional_classifier_of_a_resnetv2():
    with torch.device("meta"):
        model = timm.create_model("resnetv2_50")  # whose other convolutions are standardised: none can be converted
        chosen = PRESETS["all_but_stem"](
            model, {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
        )
    assert "head.fc" not in chosen
    assert len(chosen) == 52


def test_all_but_stem_of_torchvision():
    with torch.device("meta"):
        model = torchvision.models.get_model("squeezenet1_1", weights=None)
        assert left(model, "all_but_stem") == ["features.0", "classifier.1"]


# The first convolution's module holds more of them, or (HRNet) they stand beside it.
STEMS = {
    "resnet26d": ["conv1.0", "conv1.3", "conv1.6"],
    "senet154": ["conv1.0", "conv1.3", "conv1.6"],
    "xception41": ["stem.0.conv", "stem.1.conv"],
    "ese_vovnet19b_slim": ["stem.0.conv", "stem.1.conv", "stem.2.conv"],
    "hgnet_tiny": ["stem.stem.0.conv", "stem.stem.1.conv", "stem.stem.2.conv"],
    "levit_conv_128s": ["stem.conv1.linear", "stem.conv2.linear", "stem.conv3.linear", "stem.conv4.linear"],
    "hrnet_w18_small": ["conv1", "conv2"],
    "mobilenetv2_035": ["conv_stem"],
}


@pytest.mark.parametrize("name", STEMS)
def test_all_but_stem_leaves_the_whole_stem(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert sorted(convs.keys() - PRESETS["all_but_stem"](model, convs)) == STEMS[name]


def test_all_but_stem_leaves_the_auxiliary_classifiers_of_googlenet():
    with torch.device("meta"):
        model = torchvision.models.get_model("googlenet", weights=None, init_weights=False)
        assert left(model, "all_but_stem") == ["conv1.conv", "aux1.conv.conv", "aux2.conv.conv"]


def sequential(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), *last)


@pytest.mark.parametrize(
    ("model", "static"),
    [
        (sequential(nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), ["0", "4"]),
        (sequential(nn.Conv2d(8, 10, 1), nn.BatchNorm2d(10), nn.ReLU()), ["0"]),  # a backbone
        (sequential(nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 2)), ["0"]),
        (sequential(nn.Conv2d(8, 10, 3)), ["0"]),
    ],
    ids=["classifier", "norm", "linear", "3x3"],
)
def test_the_last_convolution_of_a_plain_model_may_classify(model, static):
    assert left(model, "all_but_stem") == static


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.layer2 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.fc = nn.Conv2d(8, 10, 1)


@pytest.mark.parametrize("where", ["blocks", "all_but_stem"])
def test_a_plain_model(where):
    assert left(Plain(), where) == ["conv1", "fc"]


def test_a_plain_model_inside_another():
    model = nn.Sequential(nn.Identity(), torchvision.models.get_model("squeezenet1_1", weights=None))
    assert left(model, "blocks") == ["1.features.0", "1.classifier.1"]


def test_features_only():
    model = timm.create_model("mobilenetv2_035", features_only=True)
    assert left(model, "blocks") == ["conv_stem"]


@pytest.mark.parametrize(
    ("name", "first", "rest"), [("resnetv2_50", "stem.conv", {"head.fc"}), ("dla46x_c", "", {"fc"})]
)
def test_a_network_of_timm_inside_another_module(name, first, rest):
    with torch.device("meta"):
        network = timm.create_model(name)
        stem = first or network.pretrained_cfg["first_conv"]
        found = left(nn.Sequential(nn.Identity(), network), "all_but_stem")
    assert set(found) == {f"1.{part}" for part in {stem, *rest}}
