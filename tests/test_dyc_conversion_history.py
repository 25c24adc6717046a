"""What is noted of conversions."""

import copy
import pickle

import timm
from torch import nn

import dyc
from dyc.conversion.history import conversions


def test_a_network_of_its_own_architecture_has_no_conversions():
    assert conversions(timm.create_model("dyc_mobilenetv2_cifar")) == []
    assert conversions(nn.Sequential()) == []
    plain = dyc.make_dynamic(nn.Sequential(nn.Conv2d(4, 4, 1)), where=lambda name, conv: True)
    assert conversions(plain) == []  # nothing creates it by name


def test_notes_belong_to_one_network():
    model = dyc.create_dynamic("test_resnet", "dy", where="layer1", num_kernels=2)
    other = copy.deepcopy(model)
    dyc.make_dynamic(other, "dyc", where="layer2")
    [note] = conversions(model)
    assert note == {
        "kind": "dynamic",
        "layers": [name for name, _ in dyc.iter_dynamic(model)],
        "attention": "dy",
        "num_kernels": 2,
        "attention_kwargs": {},
    }
    assert [each["attention"] for each in conversions(other)] == ["dy", "dyc"]


def test_what_no_file_holds_is_named_and_not_kept():
    model = dyc.create_dynamic(
        "test_resnet", lambda *args, **kwargs: dyc.GlobalAttention(*args, **kwargs), where="layer1"
    )
    [note] = conversions(model)
    assert note["lost"] == ["attention"]
    pickle.dumps(model)
