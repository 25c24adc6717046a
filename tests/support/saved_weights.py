"""Networks that are saved as weights, and read again."""

from pathlib import Path

import timm
import torch
from torch import nn

import dyc

RESNET = "test_resnet"  # timm's smallest
PREPARATION = {
    "input_size": [1, 48, 40],
    "mean": [0.3],
    "std": [0.4],
    "interpolation": "bilinear",
    "crop_pct": None,
    "crop_mode": "center",
    "class_names": ["a", "b", "c", "d"],
}


def again(folder: Path, **kwargs) -> nn.Module:
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()


def selective(name: str = "select_densenet40", **kwargs) -> nn.Module:
    """Return a network in which channels are closed and re-used."""
    model = timm.create_model(name, num_classes=10, **kwargs)
    if not name.startswith("select"):
        dyc.make_selective(model)
    return used(model)


@torch.no_grad()
def used(model: nn.Module) -> nn.Module:
    for _, layer in dyc.iter_selective(model):
        order = torch.randperm(layer.in_channels)
        layer.mask[order[: layer.in_channels // 2]] = False
        if layer.reallocates:
            slots = order[layer.in_channels // 2 :][: layer.in_channels // 4]
            layer.pointers[slots] = torch.randint(layer.in_channels, slots.shape)
            layer.shift.uniform_(-1.5, 1.5)
        layer.refresh()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def dynamic(attention: str = "dyc", where: object = "blocks", **kwargs) -> nn.Module:
    model = timm.create_model(RESNET, num_classes=4, in_chans=1)
    dyc.make_dynamic(model, attention, where=where, init="independent", temperature=3.0, **kwargs)
    return model.eval()


def assert_same_outputs(loaded: nn.Module, model: nn.Module, *size: int) -> None:
    x = torch.randn(2, *size)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
