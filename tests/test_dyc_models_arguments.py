"""What a network says of its arguments is what it takes."""

import pytest
import timm
import torch

import dyc
from dyc.models.arguments import network_arguments

# One of each family, and one of each way to build: classes, their partials, functions, timm's networks, conversions.
FAMILIES = {timm.model_entrypoint(name).__module__: name for name in dyc.models.model_names()}
OTHERS = [
    "dyc_mobilenetv2_cifar",
    "select_densenet40",
    "select_densenet121",
    "dyc_mobilenetv2_035",
    "dy_resnet10",
    "dyc_fix_mobile_100",
    "gap_mobilenetv1_025",
    "eam_mobilenetv3_small",
    "mobilenetv2_100",
    "vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", sorted({*FAMILIES.values(), *OTHERS}))
def test_a_network_takes_every_argument_that_is_listed_and_is_the_same_with_the_defaults(name):
    listed = {key: each.default for key, each in network_arguments(name).items()}
    assert {"num_classes"} <= listed.keys()
    assert not {"device", "dtype"} & listed.keys()
    with torch.device("meta"):
        usual, built = timm.create_model(name), timm.create_model(name, **listed)
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in usual.state_dict().items()}


def test_the_defaults_are_those_of_the_network_and_not_of_its_class():
    vit = network_arguments("vit_tiny_patch16_224")
    assert (str(vit["embed_dim"]), vit["num_heads"].default) == ("embed_dim: int = 192", 3)
    assert network_arguments("resnet34")["layers"].default == (3, 4, 6, 3)
    for name in ("mobilenetv2_100", "eam_mobilenetv3_small", "dy_mobilenetv2_100"):  # their builders set these
        assert not {"stem_size", "num_features", "fix_stem"} & network_arguments(name).keys()


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
