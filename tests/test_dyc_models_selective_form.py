"""The networks of SelectConv: what is selective in them, and that it changes nothing at the start."""

from collections import Counter

import pytest
import timm
import torch
from timm.models import FeatureGraphNet
from torch import nn

import dyc

# Sizes at which each form runs quickly; the structure of a layer is that of the whole network.
SHALLOW = {
    "densenet40": {},
    "preresnet164": {"layers": (2, 2, 2)},
    "resnext29_8x64d": {"layers": (1, 1, 1), "base_width": 8},
    "condensenet182": {"layers": (3, 3, 3)},
    "preresnet50": {"layers": (1, 1, 1, 1)},
    "densenet121": {"block_config": (2, 2, 2, 2)},
}
# Selective layers by size of their kernels and whether they re-use channels, of the full networks.
LAYERS = {
    "densenet40": {(1, True): 18, (3, False): 18},
    "densenet100": {(1, True): 48, (3, False): 48},
    "preresnet164": {(1, True): 108, (3, False): 54},
    "resnext29_8x64d": {(1, True): 18},
    "condensenet182": {(1, False): 90},
    "preresnet50": {(1, True): 32, (3, False): 16},
    "densenet121": {(1, True): 61, (3, False): 58},
}


def pair(name: str, seed: int = 3, **kwargs) -> list[nn.Module]:
    """Return the static and the selective form, drawn from the same seed."""
    models = []
    for prefix in ("", "select_"):
        torch.manual_seed(seed)
        models.append(timm.create_model(f"{prefix}{name}", **kwargs))
    return models


@pytest.fixture
def rewired():
    """A small network some of whose channels are closed, and some re-used."""
    model = timm.create_model("select_densenet40", layers=(2, 2, 2))
    for _, layer in dyc.iter_selective(model):
        nn.init.zeros_(layer.conv.weight[:, ::3])
    dyc.rewire(model, num_sources=0)
    for name, layer in dyc.iter_selective(model):
        if layer.reallocates and ".1." in name:
            dyc.rewire(layer)
            with torch.no_grad():  # kernels that have learned since: they start at zero
                layer.conv.weight[:, layer.pointers >= 0] = 0.1
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_which_layers_are_selective(name):
    static, model = pair(name, device="meta")
    layers = dict(dyc.iter_selective(model))
    assert Counter((layer.conv.kernel_size[0], layer.reallocates) for layer in layers.values()) == LAYERS[name]
    assert {layer.conv.groups for layer in layers.values()} == {1}
    count = [sum(p.numel() for p in m.parameters()) for m in (static, model)]
    assert count[1] - count[0] == sum(2 * layer.in_channels for layer in layers.values() if layer.reallocates)
    rates = {layer.drop.p if layer.drop is not None else 0 for layer in layers.values()}
    assert rates == ({0.1} if name == "condensenet182" else {0})


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_the_same_seed_gives_the_same_network(name, images, training):
    static, model = pair(name, **SHALLOW[name])
    weights = [[p for key, p in m.named_parameters() if not key.endswith(".shift")] for m in (static, model)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    x = images(name)
    outputs = []
    for network in (static, model):
        torch.manual_seed(5)  # for dropout
        outputs.append(network.train(training)(x))
    assert torch.equal(*outputs)


def test_dropout_of_condensenet_acts_in_training_only(images):
    model = timm.create_model("select_condensenet182", **SHALLOW["condensenet182"])
    x = images("condensenet182")
    assert torch.equal(model.eval()(x), model(x))
    with torch.random.fork_rng():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 0
        assert not torch.equal(model.train()(x), model(x))


def test_each_part_of_a_selection_is_an_argument():
    model = timm.create_model(
        "select_preresnet164",
        layers=(1, 1, 1),
        where=r"conv[12]$",
        reallocate=r"blocks\.1\.",
        device="meta",
    )
    layers = dict(dyc.iter_selective(model))
    assert len(layers) == 6
    assert [name for name, layer in layers.items() if layer.reallocates] == ["blocks.1.1.conv1", "blocks.1.1.conv2"]


def test_dropout_is_that_of_the_static_network():
    static, model = pair("densenet40", layers=(1, 2, 1), layer_drop_rate=0.3, device="meta")
    rates = [[m.p for m in network.modules() if isinstance(m, nn.Dropout) and m.p] for network in (static, model)]
    assert rates == [[0.3] * 4] * 2
    before = {name: 0.3 for name, _ in dyc.iter_selective(model) if name.endswith("conv1")}
    assert {name: layer.drop.p for name, layer in dyc.iter_selective(model) if layer.drop is not None} == before


def test_a_chosen_layer_that_cannot_be_selective_is_an_error(raises):
    with raises("where", "blocks.0.0.conv2: it has 8 groups"):
        timm.create_model("select_resnext29_8x64d", layers=(1, 1, 1), where="conv", device="meta")


def test_a_state_dict_keeps_what_is_closed_and_reused(rewired, images):
    x = images("select_densenet40")
    want = rewired.eval()(x)
    other = timm.create_model("select_densenet40", layers=(2, 2, 2)).eval()
    other.load_state_dict(rewired.state_dict())
    assert torch.equal(other(x), want)
    table = dyc.selective_layers(other)
    assert str(table) == str(dyc.selective_layers(rewired))
    assert table.total.closed > 0
    assert table.total.reallocated > 0


def test_what_is_closed_or_not_reused_has_no_gradient(rewired, images):
    y = rewired.train()(images("select_densenet40"))
    (y * torch.randn_like(y)).sum().backward()
    for name, layer in dyc.iter_selective(rewired):
        assert torch.equal(layer.conv.weight.grad.ne(0).flatten(2).any(2).any(0), layer.mask), name
        if layer.reallocates:
            assert torch.equal(layer.shift.grad.ne(0).any(1), layer.pointers >= 0), name
    assert dyc.selective_layers(rewired).total.reallocated > 0


@pytest.mark.parametrize("script", [False, True], ids=["export", "torchscript"])
def test_deployment(rewired, images, script):
    x, model = images("select_densenet40"), rewired.eval()
    deployed = torch.jit.script(model) if script else torch.export.export(model, (x,)).module()
    torch.testing.assert_close(deployed(x), model(x))


def test_features_of_a_rewired_network(rewired, images):
    x = images("select_densenet40")
    final, levels = rewired.eval().forward_intermediates(x)
    assert torch.equal(final, rewired.forward_features(x))
    torch.testing.assert_close(FeatureGraphNet(rewired, out_indices=(0, 1, 2))(x), levels)
