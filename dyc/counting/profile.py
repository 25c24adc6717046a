"""Parameters and operations per layer, counted without computing anything."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from dyc.counting.conventions import CONVENTIONS
from dyc.counting.elementwise import ElementCounter
from dyc.counting.rows import ElementCount, LayerProfile
from dyc.dynamic_model import check_model
from dyc.layers import Attention, BlockCoefficients, DynamicConv2d
from dyc.meta_device import check_input_size, empty_image, meta_copy
from dyc.text_table import aligned
from ops import ArgumentError, unknown_name

HEADER = ("layer", "kind", "parameters", "MACs", "mixing MACs")


@dataclass
class Profile:
    """The counts of a model: totals, and one row per convolution, linear layer and dynamic convolution.

    ``elements`` has one row per norm, activation and pooling, which some conventions of counting need.
    ``has_classifier`` says whether the model names its classifier, with ``get_classifier`` as timm's models do.
    """

    parameters: int
    input_size: tuple[int, int, int]
    layers: list[LayerProfile] = field(default_factory=list)
    elements: list[ElementCount] = field(default_factory=list)
    has_classifier: bool = False

    @property
    def macs(self) -> int:
        """MACs per image of convolutions and linear layers, those of the attention included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def mixing_macs(self) -> int:
        """MACs per image of mixing the banks, which the published counts leave out."""
        return sum(layer.mixing_macs for layer in self.layers)

    def count(self, convention: str = "macs", *, classifier: bool = True) -> int:
        """Return the operations per image in a convention of counting.

        Args:
            convention: ``"macs"`` (convolutions and linear layers, attention included), ``"macs+mixing"`` (mixing the
                banks too), ``"conv"`` (convolutions and classifier only) or ``"eam"`` (norms, ReLUs and poolings
                too); ``dyc.counting.CONVENTIONS`` describes each and names who counts so.
            classifier: Count the classifier.

        Raises:
            ArgumentError: No such convention, or the model does not name the classifier that is to be left out.

        Example:
            >>> import timm
            >>> counts = profile(timm.create_model("mobilenetv2_100"))
            >>> counts.count("conv"), counts.count("conv", classifier=False)
            (300774272, 299494272)
        """
        if convention not in CONVENTIONS:
            raise unknown_name("convention", convention, CONVENTIONS)
        if not classifier and not self.has_classifier:
            sentence = "cannot be left out, as the model has no get_classifier() that names it"
            raise ArgumentError("classifier", sentence=sentence)
        layers = [row for row in self.layers if classifier or row.role != "classifier"]
        return CONVENTIONS[convention].count(layers, self.elements, self.input_size)

    def __str__(self) -> str:
        rows = [(r.name, r.kind, f"{r.parameters:,}", f"{r.macs:,}", f"{r.mixing_macs:,}") for r in self.layers]
        total = ("total", "", f"{self.parameters:,}", f"{self.macs:,}", f"{self.mixing_macs:,}")
        return aligned(HEADER, [*rows, total], right=HEADER[2:])


def _macs(module: nn.Module, output: torch.Tensor) -> tuple[int, int]:
    """Return MACs and mixing MACs of one call, per image."""
    if isinstance(module, nn.Linear):
        return math.prod(output.shape[1:-1]) * module.weight.numel(), 0
    pixels = math.prod(output.shape[2:])
    if isinstance(module, DynamicConv2d):
        bias = 0 if module.bias is None else module.bias.numel()
        return pixels * module.weight[0].numel(), module.weight.numel() + bias
    return pixels * module.weight.numel(), 0


def _roles(model: nn.Module) -> dict[str, str]:
    """Return the role of every module that is part of an attention branch or of the classifier."""
    named, roles = dict(model.named_modules()), {}
    roots = {name: "attention" for name, module in named.items() if isinstance(module, Attention | BlockCoefficients)}
    roots |= {f"{name}.attention": "attention" for name, module in named.items() if isinstance(module, DynamicConv2d)}
    if hasattr(model, "get_classifier"):
        found = model.get_classifier()  # a pair in models with a distillation head
        parts = found if isinstance(found, tuple | list) else (found,)
        roots |= {name: "classifier" for name, module in named.items() if any(module is part for part in parts)}
    for root, role in roots.items():
        roles |= {name: role for name in named if name == root or name.startswith(f"{root}.")}
    return roles


def profile(model: nn.Module, input_size: tuple[int, int, int] = (3, 224, 224)) -> Profile:
    """Count the parameters and operations of a model for one image.

    ``macs`` are those of convolutions, linear layers and, in dynamic layers, the linear layers of the attention: the
    convention that reproduces the DYC report's Table 2. Pooling, activations and normalisation are not counted there;
    mixing the banks is, in a column of its own. :meth:`Profile.count` has other conventions. Products between
    activations (self-attention) are not seen.

    Args:
        model: Any model that takes one image batch. It is not changed: a copy without data is run.
        input_size: ``(C, H, W)`` of one image, in pixels.

    Returns:
        A :class:`Profile`; ``print`` it for a table.

    Raises:
        ArgumentError: ``model`` is no module, or ``input_size`` is not three positive whole numbers.

    Example:
        >>> import timm
        >>> profile(timm.create_model("mobilenetv2_100"), (3, 224, 224)).parameters
        3504872
    """
    check_model(model)
    check_input_size(input_size)
    shell = meta_copy(model)
    result = Profile(sum(p.numel() for p in model.parameters()), tuple(input_size))
    result.has_classifier = hasattr(model, "get_classifier")
    roles = _roles(shell)
    running: list[str] = []

    def enter(name: str):
        return lambda *_: running.append(name)

    def leave(name: str):
        def hook(module: nn.Module, _: tuple, output: object) -> None:
            running.pop()
            if isinstance(module, nn.Conv2d | nn.Linear | DynamicConv2d):
                macs, mixing = _macs(module, output)
                own = sum(p.numel() for p in module.parameters(recurse=False))
                role = roles.get(name, "linear" if isinstance(module, nn.Linear) else "convolution")
                result.layers.append(LayerProfile(name, type(module).__name__, own, macs, mixing, role))

        return hook

    def report(operation: str, function: str, elements: int) -> None:
        role = "attention" if roles.get(running[-1]) == "attention" else "network"
        result.elements.append(ElementCount(running[-1], operation, function, elements, role))

    for name, module in shell.named_modules():
        module.register_forward_pre_hook(enter(name), prepend=True)
        module.register_forward_hook(leave(name))
    with torch.no_grad(), ElementCounter(report):
        shell(empty_image(shell, input_size))
    return result
