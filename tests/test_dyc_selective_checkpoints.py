"""Checkpoints of static networks, loaded into their selective forms through timm."""

import copy

import pytest
import timm
import torch

import dyc
from dyc.selective.checkpoints import checkpoint_filter_fn

SHALLOW = {
    "densenet40": {"layers": (1, 1, 1)},
    "preresnet50": {"layers": (1, 1, 1, 1)},
    "condensenet182": {"layers": (2, 1, 1)},
    "densenet121": {"block_config": (2, 2, 2, 2)},
}


@pytest.fixture
def saved(tmp_path):
    def save(model) -> dict:
        torch.save(model.state_dict(), tmp_path / "weights.pth")
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(tmp_path / "weights.pth")}}

    return save


@pytest.mark.parametrize("name", SHALLOW)
def test_a_static_checkpoint_gives_the_same_outputs(name, images, saved):
    static = timm.create_model(name, **SHALLOW[name]).eval()
    for module in static.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    classes = static.num_classes
    model = timm.create_model(f"select_{name}", num_classes=classes, **SHALLOW[name], **saved(static)).eval()
    x = images(name)
    assert torch.equal(model(x), static(x))
    assert all(layer.mask.all() and (layer.pointers == -1).all() for _, layer in dyc.iter_selective(model))


def test_every_way_of_loading(saved, images, tmp_path):
    static = timm.create_model("densenet40", layers=(1, 1, 1)).eval()
    saved(static)
    x = images("densenet40")
    path = str(tmp_path / "weights.pth")
    assert torch.equal(
        timm.create_model("select_densenet40", layers=(1, 1, 1), checkpoint_path=path).eval()(x), static(x)
    )
    inside = torch.nn.Sequential(timm.create_model("select_densenet40", layers=(1, 1, 1))).eval()
    inside.load_state_dict({f"0.{key}": value for key, value in static.state_dict().items()})
    assert torch.equal(copy.deepcopy(inside)(x), static(x))


def test_another_number_of_classes(saved):
    static = timm.create_model("densenet121", **SHALLOW["densenet121"])
    model = timm.create_model("select_densenet121", num_classes=7, **SHALLOW["densenet121"], **saved(static))
    assert model.classifier.out_features == 7
    key = "features.denseblock1.denselayer1."
    assert torch.equal(model.state_dict()[f"{key}conv1.conv.weight"], static.state_dict()[f"{key}conv1.weight"])


def test_a_selective_checkpoint_is_taken_as_it_is(saved, images):
    model = timm.create_model("select_densenet40", layers=(1, 1, 1)).eval()
    _, layer = next(dyc.iter_selective(model))
    layer.mask[3:9] = False
    layer.refresh()
    other = timm.create_model("select_densenet40", layers=(1, 1, 1), **saved(model)).eval()
    x = images("densenet40")
    assert torch.equal(other(x), model(x))
    assert next(dyc.iter_selective(other))[1].mask.sum() == layer.mask.sum()


def test_what_is_closed_stays_closed():
    static, model = (timm.create_model(name, layers=(1, 1, 1)) for name in ("densenet40", "select_densenet40"))
    _, layer = next(dyc.iter_selective(model))
    layer.mask[2] = False
    state = checkpoint_filter_fn(static.state_dict(), model)
    assert state.keys() == model.state_dict().keys()
    assert checkpoint_filter_fn(static.state_dict(), static).keys() == static.state_dict().keys()
    model.load_state_dict(state)
    assert layer.mask.sum() == layer.in_channels - 1


def test_the_weights_of_densenet121_are_timms():
    ours, theirs = (timm.get_pretrained_cfg(name) for name in ("select_densenet121", "densenet121"))
    assert ours.hf_hub_id == theirs.hf_hub_id
    assert ours.hf_hub_id
