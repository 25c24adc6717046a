"""The settings that loggers get."""

from collections import OrderedDict
from enum import Enum

import yaml

from lightning_modules import ImageData
from lightning_modules.callbacks.run_settings import callbacks_by_name, plain


class Colour(str, Enum):
    RED = "red"


def test_values_are_what_yaml_knows():
    value = {"pair": (1, 2.5), 3: OrderedDict(a=None), "colour": Colour.RED, "set": {1}, "on": True}
    found = plain(value)
    assert yaml.safe_load(yaml.dump(found)) == found
    assert found == {"pair": [1, 2.5], "3": {"a": None}, "colour": "Colour.RED", "set": "{1}", "on": True}


def test_callbacks_of_one_class_are_told_apart():
    same = [{"class_path": "a.Annealing", "init_args": {"epochs": n}} for n in (1, 2)]
    found = callbacks_by_name([*same, {"class_path": "b.Other"}])
    assert found == {"Annealing": {"epochs": 1}, "Annealing#2": {"epochs": 2}, "Other": {}}


def test_a_folder_of_images_is_called_by_its_name(tmp_path):
    assert ImageData("folder", root=f"{tmp_path}/birds/").dataset_name == "birds"
    assert ImageData("folder", root="/").dataset_name == "folder"
    assert ImageData("torch/cifar10").dataset_name == "torch/cifar10"
