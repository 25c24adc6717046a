"""What a network says of its arguments is what it takes."""

import pytest
import timm
import torch

import dyc
from dyc.models.arguments import network_arguments

# One of each way to build: classes, their partials, functions, timm's networks, and conversions of all of them.
NAMES = [
    "mobilenetv2_cifar",
    "dyc_mobilenetv2_cifar",
    "select_densenet40",
    "select_densenet121",
    "preresnet164",
    "dyc_mobilenetv1_025",
    "dyc_mobilenetv2_035",
    "dy_resnet10",
    "dynet_resnet18",
    "dynet_mobile_100",
    "dyc_fix_mobile_100",
    "dyc_fix_shuffle_100",
    "eam_mobilenetv1_025",
    "gap_mobilenetv1_025",
    "eam_mobilenetv2_035",
]


@pytest.mark.parametrize("name", [name for name in NAMES if name in dyc.models.model_names()])
def test_a_network_is_built_the_same_from_the_arguments_that_are_listed_as_its_defaults(name):
    listed = {key: each.default for key, each in network_arguments(name).items()}
    # Of timm's classes, some are set by its functions.
    own = {key: value for key, value in listed.items() if f"    {key}" in timm.model_entrypoint(name).__doc__}
    assert {"num_classes"} <= listed.keys()
    with torch.device("meta"):
        usual, built = timm.create_model(name), timm.create_model(name, **own)
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in usual.state_dict().items()}


def test_the_list_has_types_and_the_networks_own_defaults():
    found = network_arguments("dyc_mobilenetv2_cifar")
    assert str(found["num_kernels"]) == "num_kernels: int = 4"
    assert str(found["attention"]) == "attention: str | None = 'dyc'"
    assert found["where"].default == r"^blocks\.[3-6]\..*conv_dw$"
    assert found["stage2_stride"].default == 1  # of the class
    assert found["drop_rate"].default == 0.0  # of its parent
    assert "dynamic_shortcut" not in found  # there is none
    assert found["num_classes"].default == 10  # of its description
    assert network_arguments("select_densenet40")["growth"].default == 12
    assert "num_kernels" not in network_arguments("fix_mobile_100")
    assert network_arguments("resnet18.a1_in1k")["drop_path_rate"].default == 0.0


def test_the_docstring_of_the_entry_point_lists_them():
    shown = timm.model_entrypoint("dyc_mobilenetv2_cifar").__doc__
    assert shown.startswith("The report's DYC-MobileNetV2.\n\nArguments:\n")
    assert "    num_kernels: int = 4\n" in shown
    assert shown.count("    num_kernels:") == 1
    assert "as timm's ``mobilenetv2_100``" in timm.model_entrypoint("dyc_mobilenetv2").__doc__
