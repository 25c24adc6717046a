"""Stages of networks, as names of layers show them."""

import doctest

import timm

import dyc
from lightning_modules import layer_groups, wandb_logger, wandb_names
from lightning_modules.layer_groups import by_group


def test_the_examples_of_what_is_logged_to_wandb_are_true():
    for module in (layer_groups, wandb_logger, wandb_names):
        failed, attempted = doctest.testmod(module)
        assert attempted > 0
        assert failed == 0


def test_networks_have_a_few_groups_and_no_layer_is_lost():
    for name, groups in (("dyc_mobilenetv2_cifar", 4), ("dyc_resnet18", 2)):
        layers = [layer for layer, _ in dyc.iter_dynamic(timm.create_model(name))]
        found = by_group(layers)
        assert len(found) == groups
        assert [layer for own in found.values() for layer in own] == layers
