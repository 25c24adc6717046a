"""The whole registry, through the interface that timm's users know."""

import pytest
import timm
import torch
from torch import nn

import dyc
from dyc.models import model_names

# Networks for 32x32 images and 10 classes whose names do not say so.
SMALL = {"densenet40", "densenet100", "preresnet164", "resnext29_8x64d", "condensenet182"}


def test_the_registry_is_not_empty(families):
    assert {"dy_mobilenetv2", "dyc_mobilenetv2", "mobilenetv2_cifar", "dyc_mobilenetv2_cifar"} <= set(model_names())
    assert set(model_names()) >= SMALL
    assert {"dy_mobilenetv2_035", "dyc_mobilenetv2_cifar", "densenet40", "preresnet164"} <= set(families)
    assert [name for name in families if name.startswith("select_")] == ["select_densenet40"]
    assert not {"densenet100", "resnext29_8x64d", "condensenet182"} & set(families)


def test_registration(name_of_any):
    name = name_of_any
    entry, config = timm.model_entrypoint(name), timm.models.get_pretrained_cfg(name)
    assert entry.__name__ == name
    assert entry.__doc__
    model = timm.create_model(name, device="meta").eval()
    assert model.default_cfg["architecture"] == name
    small = "cifar" in name or name.removeprefix("select_") in SMALL
    assert config.input_size == ((3, 32, 32) if small else (3, 224, 224))
    classes = 10 if small else 100 if name.startswith(("eam_", "gap_")) else 1000
    assert config.num_classes == classes == model.num_classes
    assert len(config.mean) == len(config.std) == config.input_size[0]
    assert 0 < config.crop_pct <= 1
    assert isinstance(model.get_submodule(config.first_conv), nn.Conv2d)
    assert model.get_submodule(config.classifier) is model.get_classifier()
    features = model.forward_features(torch.empty(1, *config.input_size, device="meta"))
    assert tuple(features.shape) == (1, model.num_features, *config.pool_size)
    assert model.forward_head(features).shape == (1, model.num_classes)


def test_dynamic_layers_are_as_the_name_says(family):
    layers = [layer for _, layer in dyc.iter_dynamic(timm.create_model(family, device="meta"))]
    kind = family.split("_")[0]
    assert bool(layers) == (kind in ("dy", "dyc", "dynet", "eam", "gap"))
    if kind in ("dy", "dyc"):
        assert {layer.attention.per_channel for layer in layers} == {kind == "dyc"}
    assert all((layer.attention is None) == (kind == "dynet") for layer in layers)


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
    assert y.shape == (2, model.head_hidden_size)
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
    model = timm.create_model(family).eval()
    x = images(family)
    features = model.forward_features(x)
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    assert model.num_classes == model.get_classifier().out_features == 7
    model.reset_classifier(0)
    assert model.forward_head(features).shape == (2, model.head_hidden_size)
    model.reset_classifier(3, "max")
    drawn = torch.randn_like(features)
    torch.testing.assert_close(model.forward_head(drawn), model.forward_head(drawn.amax((2, 3), keepdim=True)))
    assert not torch.allclose(model.forward_head(drawn), model.forward_head(drawn.mean((2, 3), keepdim=True)))
    model.reset_classifier(0, "")
    y = model(x)
    assert y.dim() == 4
    if model.head_hidden_size == model.num_features:  # else a convolution follows the pooling, as in MobileNetV3
        assert torch.equal(y, features)


def test_a_reset_classifier_is_as_the_rest_of_the_model(family):
    model = timm.create_model(family, device="meta", dtype=torch.bfloat16).eval().requires_grad_(False)
    assert {(t.device.type, t.dtype) for t in model.parameters()} == {("meta", torch.bfloat16)}
    assert {t.device.type for t in model.buffers()} == {"meta"}
    model.reset_classifier(0)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    model.reset_classifier(5)
    weight = model.get_classifier().weight
    assert (weight.device.type, weight.dtype) == ("meta", torch.bfloat16)
    assert not any(module.training for module in model.modules())


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


@pytest.mark.parametrize("wrapper", ["list", "fx"])
def test_every_wrapper_of_timm_gives_the_same_features(network, images, wrapper):
    levels = []
    for feature_cls in ("getter", wrapper):
        torch.manual_seed(1)
        model = timm.create_model(network, features_only=True, feature_cls=feature_cls).eval()
        levels.append((model.feature_info.channels(), model(images(network))))
    torch.testing.assert_close(levels[1], levels[0])


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
