"""Parameters and multiply-accumulates (MACs) per layer, counted without computing anything."""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import nn

from dyc.convert import set_backend, set_mixing
from dyc.layers import DynamicConv2d


@dataclass(frozen=True)
class LayerProfile:
    """One layer: its own parameters, MACs per image, and the MACs of mixing its bank (zero for static layers)."""

    name: str
    kind: str
    parameters: int
    macs: int
    mixing_macs: int = 0


@dataclass
class Profile:
    """The counts of a model: totals, and one row per convolution, linear layer and dynamic convolution."""

    parameters: int
    input_size: tuple[int, int, int]
    layers: list[LayerProfile] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """MACs per image of convolutions and linear layers, those of the attention included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def mixing_macs(self) -> int:
        """MACs per image of mixing the banks, which the published counts leave out."""
        return sum(layer.mixing_macs for layer in self.layers)

    def __str__(self) -> str:
        width = max([len(layer.name) for layer in self.layers] + [5])
        rows = [f"{'layer':<{width}}  {'kind':<15}{'parameters':>12}{'MACs':>15}{'mixing MACs':>13}"]
        rows += [
            f"{r.name:<{width}}  {r.kind:<15}{r.parameters:>12,}{r.macs:>15,}{r.mixing_macs:>13,}" for r in self.layers
        ]
        total = f"{'total':<{width}}  {'':<15}{self.parameters:>12,}{self.macs:>15,}{self.mixing_macs:>13,}"
        return "\n".join([*rows, total])


def _macs(module: nn.Module, output: torch.Tensor) -> tuple[int, int]:
    """Return MACs and mixing MACs of one call, per image."""
    if isinstance(module, nn.Linear):
        return math.prod(output.shape[1:-1]) * module.weight.numel(), 0
    pixels = math.prod(output.shape[2:])
    if isinstance(module, DynamicConv2d):
        bias = 0 if module.bias is None else module.bias.numel()
        return pixels * module.weight[0].numel(), module.weight.numel() + bias
    return pixels * module.weight.numel(), 0


def profile(model: nn.Module, input_size: tuple[int, int, int] = (3, 224, 224)) -> Profile:
    """Count the parameters and MACs of a model for one image.

    MACs are those of convolutions, linear layers and, in dynamic layers, the linear layers of the attention: the
    convention that reproduces the DYC report's Table 2. Pooling, activations and normalisation are not counted;
    mixing the banks is, in a column of its own. Products between activations (self-attention) are not seen.

    Args:
        model: Any model that takes one image batch. It is not changed: a copy without data is run.
        input_size: ``(C, H, W)`` of one image, in pixels.

    Returns:
        A :class:`Profile`; ``print`` it for a table.

    Example:
        >>> import timm
        >>> profile(timm.create_model("mobilenetv2_100"), (3, 224, 224)).parameters
        3504872
    """
    shell = copy.deepcopy(model).to("meta").eval()
    set_backend(shell, "eager")  # the others compute on real devices only
    set_mixing(shell, "kernels")  # what a backend can do; the counts are those of the layers, whatever they mix
    result = Profile(sum(p.numel() for p in model.parameters()), tuple(input_size))

    def record(name: str):
        def hook(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
            macs, mixing = _macs(module, output)
            own = sum(p.numel() for p in module.parameters(recurse=False))
            result.layers.append(LayerProfile(name, type(module).__name__, own, macs, mixing))

        return hook

    for name, module in shell.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | DynamicConv2d):
            module.register_forward_hook(record(name))
    with torch.no_grad():
        shell(torch.empty(1, *input_size, device="meta"))
    return result
