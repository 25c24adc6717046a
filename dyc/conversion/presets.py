"""Which convolutions a preset means, in timm's models, torchvision's and plain ones."""

import re
from collections.abc import Mapping

from torch import nn

_STAGES = re.compile(r"(blocks|stages?|layers?)_?\d*|s\d|features|trunk_output")
"""Names of the modules that hold a network's blocks."""

_STEMS = re.compile(r"stem\w*|\w+_stem|patch_embed|conv_?[01]")
"""Names of the modules that hold a stem of several convolutions."""

_BEFORE_BLOCKS = re.compile(r"conv_?\d")
"""Names of a stem's further convolutions that no module holds together, as HRNet's ``conv2``."""

_CLASSIFIERS = ("classifier", "aux_classifier", "aux1", "aux2", "AuxLogits", "fc", "head", "pre_logits")
"""Names of a network's own modules that classify, where no configuration says which they are."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


def _depthwise(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    return {name for name, conv in convs.items() if conv.groups == conv.in_channels == conv.out_channels > 1}


def _blocks(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    inside = {name for name in convs if _stages_of(name) and name.split(".")[0] not in _CLASSIFIERS}
    return inside - _stem(model, convs) - _head_among_blocks(model, convs, inside) - _classifier(model, convs)


def _all_but_stem(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    return convs.keys() - _stem(model, convs) - _classifier(model, convs)


PRESETS = {"depthwise": _depthwise, "blocks": _blocks, "all_but_stem": _all_but_stem}
"""By name, a function of a model and its convolutions that returns the names of those that are meant."""


def _said(model: nn.Module, key: str) -> set[str]:
    """Return what timm's configuration says under a key: names of modules.

    The configuration is the model's own, or that of a network inside it, such as behind a normalisation.
    """
    found: set[str] = set()
    for prefix, module in model.named_modules():
        value = (getattr(module, "pretrained_cfg", None) or {}).get(key) or ()
        names = {value} if isinstance(value, str) else set(value)
        found |= {f"{prefix}.{name}" if prefix else name for name in names}
    return found


def _stem(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    """Return the convolutions of the stem.

    These are the ones that see the image (what timm's configuration says, or the first one), what shares with them a
    module that is named like a stem, and what stands beside them, numbered, before the blocks.
    """
    named = _said(model, "first_conv")
    first = named if named and named <= convs.keys() else set(list(convs)[:1])
    found = set(first)
    for name in first:
        parts = name.split(".")
        for i, part in enumerate(parts[:-1]):
            if _STEMS.fullmatch(part):
                stem = ".".join(parts[: i + 1])
                found |= {other for other in convs if other.startswith(f"{stem}.")}
                break
        beside = name.rpartition(".")[0]
        blocks = next((i for i, other in enumerate(convs) if _stages_of(other)), 0)
        for other in list(convs)[:blocks]:
            above, _, last = other.rpartition(".")
            if above == beside and _BEFORE_BLOCKS.fullmatch(last):
                found.add(other)
    return found


def _classifier(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    """Return the convolutions that classify, where a linear layer would do the same.

    What a configuration names is known; VGG's ``pre_logits`` are the linear layers before it.
    """
    said = _said(model, "classifier")
    before = {name for name, _ in model.named_modules() if name.rpartition(".")[2] == "pre_logits"}
    modules = said | before if said else set(_CLASSIFIERS)
    found = {name for name in convs if any(f"{name}.".startswith(f"{module}.") for module in modules)}
    return found if found or said else _unnamed_classifier(model, convs)


def _unnamed_classifier(model: nn.Module, convs: Mapping[str, nn.Module]) -> set[str]:
    """Return the last convolution of a model without linear layers if it is 1x1 with a bias and no norm follows it.

    The last convolution of a backbone without a classifier has a norm behind it.
    """
    layers = dict(model.named_modules())
    last = next(reversed(convs), "")
    if not last or convs[last].kernel_size != (1, 1) or convs[last].bias is None:
        return set()
    after = list(layers.values())[list(layers).index(last) + 1 :]
    norm = any(isinstance(module, _NORMS) for module in after)
    linear = any(isinstance(module, nn.Linear) for module in layers.values())
    return set() if norm or linear else {last}


def _stages_of(name: str) -> str:
    """Return the outermost module around a convolution that holds blocks by its name; empty if there is none."""
    parts = name.split(".")
    return next((".".join(parts[: i + 1]) for i, part in enumerate(parts[:-1]) if _STAGES.fullmatch(part)), "")


def _head_among_blocks(model: nn.Module, convs: Mapping[str, nn.Module], inside: set[str]) -> set[str]:
    """Return the 1x1 convolution that stands alone behind the blocks, such as ``features.18.0`` of MobileNetV2."""
    last = next((name for name in reversed(convs) if name in inside), "")
    stages = _stages_of(last)
    if not stages or convs[last].kernel_size != (1, 1):
        return set()
    depth = stages.count(".") + 2  # components of a member's name
    counts: dict[str, int] = {}
    for name in convs:
        if name.startswith(f"{stages}."):
            member = ".".join(name.split(".")[:depth])
            counts[member] = counts.get(member, 0) + 1
    alone = counts[".".join(last.split(".")[:depth])] == 1
    return {last} if alone and max(counts.values()) > 1 else set()
