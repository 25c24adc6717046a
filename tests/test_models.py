"""The whole registry, through the interface that timm's users know."""

import pytest
import timm
import torch
from torch import nn

import dyc
from dyc.layers.attentions.efficient import EfficientAttention
from dyc.models import model_names


def test_the_registry_is_not_empty(families):
    assert {"dy_mobilenetv2", "dyc_mobilenetv2", "mobilenetv2_cifar", "dyc_mobilenetv2_cifar"} <= set(model_names())
    assert {"dy_mobilenetv2_035", "dyc_mobilenetv2_cifar"} <= set(families)


@pytest.mark.parametrize("name", model_names())
def test_registration(name):
    entry, config = timm.model_entrypoint(name), timm.models.get_pretrained_cfg(name)
    assert entry.__name__ == name
    assert entry.__doc__
    model = timm.create_model(name)
    assert model.default_cfg["architecture"] == name
    assert config.input_size == ((3, 32, 32) if "cifar" in name else (3, 224, 224))
    classes = 10 if "cifar" in name else 100 if name.startswith(("eam_", "gap_")) else 1000
    assert config.num_classes == classes == model.num_classes
    assert len(config.mean) == len(config.std) == config.input_size[0]
    assert 0 < config.crop_pct <= 1
    assert isinstance(model.get_submodule(config.first_conv), nn.Conv2d)
    assert model.get_submodule(config.classifier) is model.get_classifier()
    with torch.no_grad():
        features = model.eval().forward_features(torch.randn(1, *config.input_size))
    assert tuple(features.shape[2:]) == config.pool_size


def test_dynamic_layers_are_as_the_name_says(family):
    layers = [layer for _, layer in dyc.iter_dynamic(timm.create_model(family))]
    assert all((layer.attention is None) == family.startswith("dynet_") for layer in layers)
    branches = [layer.attention for layer in layers if layer.attention is not None]
    kinds = {getattr(branch, "per_channel", type(branch)) for branch in branches}
    named = {"dyc": {True}, "dy": {False}, "gap": {False}, "eam": {EfficientAttention}}
    assert kinds == named.get(family.split("_")[0], set())


def test_state_dict_round_trip(family, images):
    one, other = timm.create_model(family).eval(), timm.create_model(family).eval()
    x = images(family)
    assert not torch.equal(other(x), one(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_input_channels(family, images, channels):
    model = timm.create_model(family, in_chans=channels).eval()
    y = model(images(family, channels=channels))
    assert y.shape == (2, model.num_classes)
    assert not torch.equal(y, model(images(family, channels=channels)))


def test_without_classes_it_returns_pooled_features(family, images):
    model = timm.create_model(family, num_classes=0).eval()
    x = images(family)
    y = model(x)
    assert y.shape == (2, model.num_features)
    assert torch.equal(y, model.forward_head(model.forward_features(x), pre_logits=True))


def test_forward_is_features_then_head(family, images):
    model = timm.create_model(family).eval()
    x = images(family)
    features = model.forward_features(x)
    assert features.shape[:2] == (2, model.num_features)
    assert torch.equal(model.forward_head(features), model(x))
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(pooled), model(x))


def test_reset_classifier(family, images):
    model = timm.create_model(family).double().eval()
    x = images(family).double()
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    assert model.num_classes == model.get_classifier().out_features == 7
    model.reset_classifier(0)
    assert model(x).shape == (2, model.num_features)
    model.reset_classifier(0, "")
    assert torch.equal(model(x), model.forward_features(x))
    model.reset_classifier(3, "max")
    features = model.forward_features(x)
    assert torch.equal(model(x), model.get_classifier()(features.amax((2, 3))))


def test_features_only_has_the_channels_and_strides_it_promises(family, images):
    model = timm.create_model(family, features_only=True).eval()
    channels, reductions = model.feature_info.channels(), model.feature_info.reduction()
    assert len(channels) > 1
    assert reductions == sorted(set(reductions)), "one level per resolution"
    x = images(family)
    levels = model(x)
    want = [(2, c, x.shape[2] // r, x.shape[3] // r) for c, r in zip(channels, reductions)]
    assert [tuple(level.shape) for level in levels] == want
    chosen = timm.create_model(family, features_only=True, out_indices=(1, 2)).eval()
    chosen.load_state_dict(model.state_dict(), strict=False)
    assert all(torch.equal(a, b) for a, b in zip(chosen(x), levels[1:3], strict=True))


def test_forward_intermediates(family, images):
    model = timm.create_model(family).eval()
    x = images(family)
    final, levels = model.forward_intermediates(x)
    assert torch.equal(final, model.forward_features(x))
    assert [level.shape[1] for level in levels] == [info["num_chs"] for info in model.feature_info]
    chosen = model.forward_intermediates(x, indices=[0, 2], stop_early=True, intermediates_only=True)
    assert len(chosen) == 2
    assert all(torch.equal(a, b) for a, b in zip(chosen, (levels[0], levels[2])))
    last = model.forward_intermediates(x, indices=1, intermediates_only=True)
    assert torch.equal(last[0], levels[-1])
    assert torch.equal(model.forward_intermediates(x, indices=[0])[0], final), "stopped early unasked"


def test_prune_intermediate_layers(family, images):
    model = timm.create_model(family).eval()
    x = images(family)
    want = model.forward_intermediates(x, indices=[1], intermediates_only=True)[0]
    before = sum(p.numel() for p in model.parameters())
    assert model.prune_intermediate_layers([1]) == [1]
    assert sum(p.numel() for p in model.parameters()) < before
    assert torch.equal(model.forward_intermediates(x, indices=[1], intermediates_only=True)[0], want)
