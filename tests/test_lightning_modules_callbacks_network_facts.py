"""What is dynamic about a network, by which runs are told apart."""

from types import SimpleNamespace

import pytest
import timm
from torch import nn

import dyc
from lightning_modules import TemperatureAnnealing
from lightning_modules.callbacks.network_facts import dynamic_facts


def facts(net, hparams=None, epochs=20, *callbacks):
    return dynamic_facts(net, hparams or {}, SimpleNamespace(callbacks=callbacks, max_epochs=epochs))


def test_a_static_network_has_no_kernels_to_choose_from():
    expected = dict.fromkeys(("num_kernels", "temperature", "temperature_end", "where", "backend"))
    assert facts(timm.create_model("test_resnet")) == {"attention": "static", **expected}
    assert facts(timm.create_model("test_resnet"), None, 20, TemperatureAnnealing())["temperature"] is None


def test_a_network_by_name_and_its_constant_temperature():
    net = timm.create_model("dyc_mobilenetv2_cifar", num_kernels=3, backend="eager")
    dyc.set_temperature(net, 1.5)
    expected = {"attention": "dyc", "num_kernels": 3, "temperature": 1.5, "temperature_end": 1.5, "where": None}
    assert facts(net) == {**expected, "backend": "eager"}


@pytest.mark.parametrize(
    ("per", "epochs", "end"),
    [
        ("step", 20, 1.0),
        ("step", 5, 15.5),
        ("epoch", 20, 1.0),
        ("epoch", 1, 30.0),
        ("epoch_to_zero", 10, 3.0),
        ("step", -1, 1.0),
        ("step", None, 1.0),
    ],
)
def test_the_temperature_of_the_end_is_that_of_the_last_epoch_that_is_trained(per, epochs, end):
    net = timm.create_model("dyc_mobilenetv2_cifar")
    dyc.set_temperature(net, 7.0)
    found = facts(net, None, epochs, TemperatureAnnealing(per=per))
    assert found["temperature"] == 30
    assert found["temperature_end"] == pytest.approx(end)


def test_where_is_what_was_given():
    net = dyc.make_dynamic(timm.create_model("test_efficientnet"), "dy", where="blocks")
    assert facts(net, {"dynamic": {"where": "blocks"}})["where"] == "blocks"
    assert facts(net, {"dynamic": None, "model_kwargs": {"where": "depthwise"}})["where"] == "depthwise"


def test_values_of_layers_that_differ_are_joined():
    layers = [dyc.DynamicConv2d(4, 4, 1, num_kernels=k, attention=a) for k, a in ((2, "dyc"), (4, "dy"))]
    found = facts(nn.Sequential(*layers))
    assert (found["attention"], found["num_kernels"]) == ("dy, dyc", "2, 4")
