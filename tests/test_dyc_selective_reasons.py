"""Reasons why layers do not fit: few words in a message, and the whole list on demand."""

import re
import warnings

import pytest
import timm
import torch
from torch import nn

import dyc
import ops
from dyc.selective import unfit


def large() -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("resnet101")


def test_a_message_has_an_end():
    model = large()
    reasons = unfit(model)
    with pytest.warns(UserWarning, match="left as they are") as warned:
        dyc.make_selective(model)
    assert len(warned) == 1
    message = str(warned[0].message)
    assert len(message) < 1000
    assert message.startswith(f"where: matches {len(reasons)} layers ")
    assert "dyc.selective.unfit" in message
    for clause in message[: message.index("; dyc.selective.unfit")].split("; "):
        named = [name for name in reasons if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", clause)]
        assert 1 <= len(named) <= 5  # the reason may name another
    counts = [int(count) for count in re.findall(r"and (\d+) more", message)]
    assert counts
    assert sum(counts) + 4 * len(counts) <= len(reasons)


def test_the_list_is_what_stays():
    model = timm.create_model("resnet26", layers=(1, 2, 1, 1), device="meta")
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and name != "conv1"]
    reasons = unfit(model)
    assert reasons["layer1.0.conv1"] == "its input comes from maxpool (MaxPool2d), not from a ReLU module"
    chosen = r"\.conv1$"
    assert unfit(model, chosen) == {name: reason for name, reason in reasons.items() if re.search(chosen, name)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dyc.make_selective(model)
    assert not set(reasons) & {name for name, _ in dyc.iter_selective(model)}
    assert {*reasons, *(name for name, _ in dyc.iter_selective(model))} == set(convs)


def test_kinds_of_reasons():
    layers = [nn.Sequential(nn.Conv2d(4, 4, 1), act(), nn.Conv2d(4, 4, 1)) for act in [nn.GELU] * 6 + [nn.SiLU]]
    with pytest.raises(ops.ArgumentError) as error:
        dyc.make_selective(nn.Sequential(*layers), input_size=(4, 8, 8), where=r"\.2$")
    want = (
        "(0.2: its input comes from 0.1 (GELU), not from a ReLU module, and likewise 1.2, 2.2, 3.2 and 2 more; "
        "6.2: its input comes from 6.1 (SiLU), not from a ReLU module; dyc.selective.unfit gives the reason of each)"
    )
    assert want in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"where": "no"}, "where: got 'no'"), ({"input_size": 3}, "input_size: got 3")],
)
def test_arguments_that_cannot_be_used(kwargs, message):
    with pytest.raises(ops.ArgumentError, match=message):
        unfit(large(), **kwargs)


def test_no_model():
    with pytest.raises(ops.ArgumentError, match="model: got 'resnet26'"):
        unfit("resnet26")
