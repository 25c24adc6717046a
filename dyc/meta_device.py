"""A copy of a model without data, which is run to see what happens in it and computes nothing."""

import copy
from collections.abc import Sequence
from itertools import chain
from numbers import Integral

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dyc.dynamic_model import iter_operators, set_mixing
from ops import ArgumentError


def meta_copy(model: nn.Module) -> nn.Module:
    """Return ``model`` in evaluation mode on the meta device; the model is not changed, and its data not copied."""
    empty = {}
    for tensor in chain(model.parameters(), model.buffers()):
        if type(tensor) in (nn.Parameter, torch.Tensor) and not is_lazy(tensor):
            # The values alone: a tensor may have a gradient or hooks.
            bare = torch.empty_like(tensor.detach(), device="meta")
            empty[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    shell = copy.deepcopy(model, empty).to("meta").eval()
    set_mixing(shell, "kernels")  # the layers are the same, whatever they mix
    for _, layer, _ in iter_operators(shell):
        layer.backend = "eager"  # the others compute on real devices only
    return shell


def empty_image(shell: nn.Module, size: tuple[int, int, int]) -> torch.Tensor:
    """Return a batch of one image without data, ``(1, C, H, W)``, in the type of the model's parameters."""
    floating = (p.dtype for p in shell.parameters() if p.is_floating_point())
    return torch.empty(1, *size, device="meta", dtype=next(floating, None))


def check_input_size(size: tuple[int, int, int]) -> None:
    """Raise ArgumentError unless ``size`` is that of an image: channels, height, width."""
    listed = isinstance(size, Sequence) and len(size) == 3
    if not listed or not all(isinstance(n, Integral) and n >= 1 for n in size):
        raise ArgumentError("input_size", repr(size), "(C, H, W) of one image: three whole numbers of at least 1")


def usual_input_sizes(model: nn.Module) -> list[tuple[int, int, int]]:
    """Return sizes of images that ``model`` may take, the likeliest first: timm's description, or else 224 pixels.

    The channels are those of the first convolution, as timm's description does not follow ``in_chans``; or else those
    of the description, as some networks fold pixels into channels before their first convolution.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    named = config.get("first_conv")
    first = convs.get(named) if isinstance(named, str) else None
    first = first or next(iter(convs.values()), None)
    likeliest = channels if first is None else first.in_channels
    return [(count, height, width) for count in dict.fromkeys((likeliest, channels))]
