"""Models in training: gradients, groups of parameters, checkpoints of activations, mixed precision."""

import re

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import group_parameters
from torch import nn


@pytest.fixture
def build():
    def create(name: str, **kwargs) -> nn.Module:
        """Create a model in training mode in which no branch starts at zero, so that gradients reach all of it."""
        model = timm.create_model(name, **kwargs).train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # zero in the last of each residual block, where timm says so
        return model

    return create


def gradients(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradient of every parameter for a loss that follows every output."""
    model.zero_grad()
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_output_shape_and_a_gradient_for_every_parameter(name_of_form, images, build):
    name = name_of_form
    model = build(name)
    x = images(name)
    assert model(x).shape == (2, model.default_cfg["num_classes"])
    for parameter, gradient in gradients(model, x).items():
        assert gradient is not None, parameter
        assert torch.isfinite(gradient).all(), parameter
        # A shift has no effect before its channel is re-allocated.
        assert (gradient.abs().max() > 0) == (not parameter.endswith(".shift")), parameter


def test_one_sample_trains(family, images):
    model = timm.create_model(family).train()
    assert all(
        gradient is not None and torch.isfinite(gradient).all()
        for gradient in gradients(model, images(family, 1)).values()
    )


@pytest.mark.parametrize("coarse", [True, False])
def test_group_matcher_covers_every_parameter(family, coarse):
    model = timm.create_model(family)
    matcher = model.group_matcher(coarse=coarse)
    patterns = [p for entry in matcher.values() for p, *_ in ([(entry,)] if isinstance(entry, str) else entry)]
    # timm puts what no pattern matches into the last group, which is meant for the classifier.
    unmatched = [n for n, _ in model.named_parameters() if not any(re.match(p, n) for p in patterns)]
    assert {n.split(".")[0] for n in unmatched} <= {"conv_head", model.default_cfg["classifier"]}
    groups = group_parameters(model, matcher)
    grouped = [parameter for members in groups.values() for parameter in members]
    assert sorted(grouped) == sorted(name for name, _ in model.named_parameters())
    blocks = {parameter.rsplit(".attention.", 1)[0] for parameter in grouped if ".attention." in parameter}
    depth = {parameter: index for index, members in groups.items() for parameter in members}
    for layer in blocks:  # a bank and the branch that mixes it learn at the same rate
        assert len({depth[p] for p in grouped if p.startswith(f"{layer}.")}) == 1


def test_grad_checkpointing_gives_the_same_gradients(each_family, images):
    model = timm.create_model(each_family).train()
    x = images(each_family)
    plain = gradients(model, x)
    model.set_grad_checkpointing()
    calls = []
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def count(t: torch.Tensor) -> torch.Tensor:
        if t.untyped_storage().data_ptr() not in parameters:
            calls.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        model(x)
    kept = sum(calls)
    calls.clear()
    for parameter, gradient in gradients(model, x).items():
        torch.testing.assert_close(gradient, plain[parameter])
    model.set_grad_checkpointing(False)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        model(x)
    assert kept < sum(calls) * 2 / 3, "nothing was saved"


def test_backbones_checkpoint_their_activations(images):
    grads = []
    for enabled in (False, True):
        torch.manual_seed(1)
        model = timm.create_model("dyc_mobilenetv3_small", features_only=True).train()
        model.set_grad_checkpointing(enabled)
        sum(level.square().mean() for level in model(images("dyc_mobilenetv3_small"))).backward()
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(grads[1], grads[0])


def test_dropout_acts_in_training_only(family, images):
    model = timm.create_model(family, drop_rate=0.5).eval()
    features = torch.randn_like(model.forward_features(images(family)))
    kept = model.forward_head(features, pre_logits=True)
    dropped = model.train().forward_head(features, pre_logits=True)
    zero = dropped == 0
    assert 0.4 < zero.float().mean() < 0.6
    torch.testing.assert_close(dropped[~zero], 2 * kept[~zero])


def test_stochastic_depth(family, images):
    if "densenet" in family:
        with pytest.raises(TypeError, match="drop_path_rate"):
            timm.create_model(family, drop_path_rate=0.3)
        return
    model = timm.create_model(family, drop_path_rate=0.3)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath) and module.drop_prob]
    if not rates:
        pytest.skip("no block has a shortcut")
    assert rates == sorted(rates)
    assert 0 < rates[0] <= rates[-1] < 0.301
    x = images(family)
    assert torch.equal(model.eval()(x), model(x))


def test_bfloat16_autocast(each_family, images):
    model = timm.create_model(each_family).train()
    x = images(each_family)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())
