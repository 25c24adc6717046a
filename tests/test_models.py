"""The whole registry, through the interface that timm's users know."""

import re

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.models._hub import save_for_hf
from torch import nn

import dyc
from dyc.models import model_names

NAMES = model_names()


def representatives() -> list[str]:
    """Return one name per kind and family, the smallest width; the other widths differ in nothing but numbers."""
    families: dict[str, list[str]] = {}
    for name in NAMES:
        families.setdefault(re.sub(r"_\d{3}$", "", name), []).append(name)
    return [min(names, key=lambda name: (re.search(r"_\d{3}$", name) is None, name)) for names in families.values()]


every_model = pytest.mark.parametrize("name", NAMES)
every_family = pytest.mark.parametrize("name", representatives())


def pixels(name: str) -> int:
    return 32 if "cifar" in name else 64


def images(name: str, batch: int = 2, channels: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, pixels(name), pixels(name))


def gradients(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradient of every parameter for a loss that follows every output."""
    model.zero_grad()
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_the_registry_is_not_empty():
    assert {"dy_mobilenetv2", "dyc_mobilenetv2", "mobilenetv2_cifar", "dyc_mobilenetv2_cifar"} <= set(NAMES)
    assert {"dy_mobilenetv2_035", "dyc_mobilenetv2_cifar"} <= set(representatives())


@every_model
def test_output_shape_and_a_gradient_for_every_parameter(name):
    model = timm.create_model(name).train()
    x = images(name)
    assert model(x).shape == (2, model.default_cfg["num_classes"])
    for parameter, gradient in gradients(model, x).items():
        assert gradient is not None, parameter
        assert torch.isfinite(gradient).all(), parameter
        assert gradient.abs().max() > 0, parameter


@every_model
def test_registration(name):
    entry, config = timm.model_entrypoint(name), timm.models.get_pretrained_cfg(name)
    assert entry.__name__ == name
    assert entry.__doc__
    model = timm.create_model(name)
    assert model.default_cfg["architecture"] == name
    assert config.input_size == ((3, 32, 32) if "cifar" in name else (3, 224, 224))
    assert config.num_classes == (10 if "cifar" in name else 1000) == model.num_classes
    assert len(config.mean) == len(config.std) == config.input_size[0]
    assert 0 < config.crop_pct <= 1
    assert isinstance(model.get_submodule(config.first_conv), nn.Conv2d)
    assert model.get_submodule(config.classifier) is model.get_classifier()
    with torch.no_grad():
        features = model.eval().forward_features(torch.randn(1, *config.input_size))
    assert tuple(features.shape[2:]) == config.pool_size


@every_family
def test_dynamic_layers_are_as_the_name_says(name):
    kinds = {layer.attention.per_channel for _, layer in dyc.iter_dynamic(timm.create_model(name))}
    assert kinds == {"dyc": {True}, "dy": {False}}.get(name.split("_")[0], set())


@every_family
def test_state_dict_round_trip(name):
    one, other = timm.create_model(name).eval(), timm.create_model(name).eval()
    x = images(name)
    assert not torch.equal(other(x), one(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


@every_family
@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_input_channels(name, channels):
    model = timm.create_model(name, in_chans=channels).eval()
    y = model(images(name, channels=channels))
    assert y.shape == (2, model.num_classes)
    assert not torch.equal(y, model(images(name, channels=channels)))


@every_family
def test_without_classes_it_returns_pooled_features(name):
    model = timm.create_model(name, num_classes=0).eval()
    x = images(name)
    y = model(x)
    assert y.shape == (2, model.num_features)
    assert torch.equal(y, model.forward_head(model.forward_features(x), pre_logits=True))


@every_family
def test_forward_is_features_then_head(name):
    model = timm.create_model(name).eval()
    x = images(name)
    features = model.forward_features(x)
    assert features.shape[:2] == (2, model.num_features)
    assert torch.equal(model.forward_head(features), model(x))
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(pooled), model(x))


@every_family
def test_reset_classifier(name):
    model = timm.create_model(name).double().eval()
    x = images(name).double()
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


@every_family
def test_features_only_has_the_channels_and_strides_it_promises(name):
    model = timm.create_model(name, features_only=True).eval()
    channels, reductions = model.feature_info.channels(), model.feature_info.reduction()
    assert len(channels) > 1
    assert reductions == sorted(set(reductions)), "one level per resolution"
    x = images(name)
    levels = model(x)
    want = [(2, c, pixels(name) // r, pixels(name) // r) for c, r in zip(channels, reductions)]
    assert [tuple(level.shape) for level in levels] == want
    chosen = timm.create_model(name, features_only=True, out_indices=(1, 2)).eval()
    chosen.load_state_dict(model.state_dict(), strict=False)
    assert all(torch.equal(a, b) for a, b in zip(chosen(x), levels[1:3], strict=True))


@every_family
def test_forward_intermediates(name):
    model = timm.create_model(name).eval()
    x = images(name)
    final, levels = model.forward_intermediates(x)
    assert torch.equal(final, model.forward_features(x))
    assert [level.shape[1] for level in levels] == [info["num_chs"] for info in model.feature_info]
    chosen = model.forward_intermediates(x, indices=[0, 2], stop_early=True, intermediates_only=True)
    assert len(chosen) == 2
    assert all(torch.equal(a, b) for a, b in zip(chosen, (levels[0], levels[2])))
    last = model.forward_intermediates(x, indices=1, intermediates_only=True)
    assert torch.equal(last[0], levels[-1])
    assert torch.equal(model.forward_intermediates(x, indices=[0])[0], final), "stopped early unasked"


@every_family
def test_prune_intermediate_layers(name):
    model = timm.create_model(name).eval()
    x = images(name)
    want = model.forward_intermediates(x, indices=[1], intermediates_only=True)[0]
    before = sum(p.numel() for p in model.parameters())
    assert model.prune_intermediate_layers([1]) == [1]
    assert sum(p.numel() for p in model.parameters()) < before
    assert torch.equal(model.forward_intermediates(x, indices=[1], intermediates_only=True)[0], want)


@every_family
@pytest.mark.parametrize("coarse", [True, False])
def test_group_matcher_covers_every_parameter(name, coarse):
    model = timm.create_model(name)
    matcher = model.group_matcher(coarse=coarse)
    patterns = [p for entry in matcher.values() for p, *_ in ([(entry,)] if isinstance(entry, str) else entry)]
    # timm puts what no pattern matches into the last group, which is meant for the classifier.
    unmatched = [n for n, _ in model.named_parameters() if not any(re.match(p, n) for p in patterns)]
    assert {n.split(".")[0] for n in unmatched} == {model.default_cfg["classifier"]}
    groups = group_parameters(model, matcher)
    grouped = [parameter for members in groups.values() for parameter in members]
    assert sorted(grouped) == sorted(name for name, _ in model.named_parameters())
    blocks = {parameter.rsplit(".attention.", 1)[0] for parameter in grouped if ".attention." in parameter}
    depth = {parameter: index for index, members in groups.items() for parameter in members}
    for layer in blocks:  # a bank and the branch that mixes it learn at the same rate
        assert len({depth[p] for p in grouped if p.startswith(f"{layer}.")}) == 1


@every_family
def test_grad_checkpointing_gives_the_same_gradients(name):
    model = timm.create_model(name).train()
    x = images(name)
    plain = gradients(model, x)
    model.set_grad_checkpointing()
    calls = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: calls.append(t.numel()) or t, lambda t: t):
        model(x)
    kept = sum(calls)
    calls.clear()
    for parameter, gradient in gradients(model, x).items():
        torch.testing.assert_close(gradient, plain[parameter])
    model.set_grad_checkpointing(False)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: calls.append(t.numel()) or t, lambda t: t):
        model(x)
    assert kept < sum(calls) / 2, "nothing was saved"


@every_family
def test_channels_last_stays_channels_last(name):
    model = timm.create_model(name).eval()
    x = images(name)
    want = model(x)
    model = model.to(memory_format=torch.channels_last)
    wrong = []

    def check(module, _, output):
        if not output.is_contiguous(memory_format=torch.channels_last):
            wrong.append(module)

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | dyc.DynamicConv2d)]
    for layer in layers:
        layer.register_forward_hook(check)
    y = model(x.contiguous(memory_format=torch.channels_last))
    assert wrong == []
    torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-5 * want.abs().max().item())


@every_family
def test_bfloat16_autocast(name):
    model = timm.create_model(name).train()
    x = images(name)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


@every_family
def test_one_sample_trains(name):
    model = timm.create_model(name).train()
    assert all(
        gradient is not None and torch.isfinite(gradient).all()
        for gradient in gradients(model, images(name, 1)).values()
    )


@every_family
@pytest.mark.parametrize(("extra_rows", "extra_columns"), [(0, 16), (1, 15)], ids=["not_square", "odd"])
def test_other_image_sizes(name, extra_rows, extra_columns):
    model = timm.create_model(name).eval()
    x = torch.randn(2, 3, pixels(name) + extra_rows, pixels(name) + extra_columns)
    assert model(x).shape == (2, model.num_classes)
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))


@every_family
def test_a_folder_keeps_the_model(name, tmp_path):
    model = timm.create_model(name, num_classes=4).eval()
    dyc.set_temperature(model, 2.5)
    save_for_hf(model, tmp_path, model_args={"num_classes": 4})
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = images(name)
    assert torch.equal(loaded(x), model(x))
    assert loaded.default_cfg["architecture"] == name


def test_missing_pretrained_weights_are_an_error():
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model("dyc_mobilenetv2_cifar", pretrained=True)


@pytest.mark.parametrize("name", ["mobilenetv2_cifar", "dy_mobilenetv2_cifar", "dyc_mobilenetv2_cifar"])
def test_export(name):
    model = timm.create_model(name).eval()
    x = images(name)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_compiles_without_a_graph_break():
    model, x = timm.create_model("dyc_mobilenetv2_cifar").eval(), images("dyc_mobilenetv2_cifar")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


class TestOptions:
    def test_recipe_options_reach_the_layers(self):
        model = timm.create_model(
            "dyc_mobilenetv2_cifar", num_kernels=3, temperature=5.0, where=r"conv_dw$", attention="dy", backend="eager"
        )
        layers = [layer for _, layer in dyc.iter_dynamic(model)]
        assert len(layers) == 17
        for layer in layers:
            assert (layer.num_kernels, layer.attention.temperature.item(), layer.backend) == (3, 5.0, "eager")
            assert not layer.attention.per_channel

    def test_dynamic_head(self):
        model = timm.create_model("dy_mobilenetv2_035", dynamic_head=True)
        assert isinstance(model.conv_head, dyc.DynamicConv2d)
        assert not isinstance(timm.create_model("dy_mobilenetv2_035").conv_head, dyc.DynamicConv2d)

    def test_kernels_start_different(self):
        for _, layer in dyc.iter_dynamic(timm.create_model("dyc_mobilenetv2_cifar")):
            assert not torch.equal(layer.weight[0], layer.weight[1])

    def test_an_unknown_option_is_an_error(self):
        with pytest.raises(TypeError, match="num_kernel"):
            timm.create_model("dyc_mobilenetv2_cifar", num_kernel=3)

    @pytest.mark.parametrize("option", ["stem_stride", "stage2_stride"])
    def test_strides_of_the_cifar_network(self, option):
        model = timm.create_model("mobilenetv2_cifar", **{option: 2}).eval()
        assert model.forward_features(images("mobilenetv2_cifar")).shape == (2, 1280, 2, 2)
        with pytest.raises(ValueError, match=f"{option}: got 3; need 1 or 2"):
            timm.create_model("mobilenetv2_cifar", **{option: 3})

    def test_dropout_acts_in_training_only(self):
        model = timm.create_model("mobilenetv2_cifar", drop_rate=0.5)
        features = torch.ones(2, 1280, 4, 4)
        dropped = model.train().forward_head(features, pre_logits=True)
        assert 0.4 < (dropped == 0).float().mean() < 0.6
        assert torch.equal(model.eval().forward_head(features, pre_logits=True), torch.ones(2, 1280))
