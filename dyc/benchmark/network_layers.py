"""Where the time of a network goes: each of its convolutions alone, on the features that it gets there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dyc.benchmark.timing import summary, take_turns
from dyc.layers import DynamicConv2d

CONVOLUTIONS = (nn.Conv2d, DynamicConv2d)


@dataclass(frozen=True)
class LayerTime:
    """Milliseconds of one call of a layer, its attention included.

    Args:
        layer: Its name.
        dynamic: Whether its kernels are mixed.
        channels: Channels of its input and output.
        size: Height and width of its output in pixels.
        median_ms: Median over its turns.
        p20_ms: 20th percentile.
        p80_ms: 80th percentile.
    """

    layer: str
    dynamic: bool
    channels: tuple[int, int]
    size: tuple[int, int]
    median_ms: float
    p20_ms: float
    p80_ms: float


@torch.no_grad()
def time_network_layers(model: nn.Module, x: Tensor, *, device: str = "cpu", seconds: float = 5.0) -> list[LayerTime]:
    """Time every convolution of a network that runs, in turns, in the order of the network.

    Args:
        model: The network, in evaluation mode. Inside a dynamic layer, its attention branch is not timed by itself.
        x: Images, ``(B, C, H, W)``.
        device: Where both are, ``"cpu"`` or ``"cuda"``.
        seconds: Seconds for all layers together; each has at least five turns.
    """
    calls: dict[str, partial] = {}
    sizes: dict[str, tuple[int, int]] = {}
    layers = _convolutions(model)
    hooks = []
    for name, layer in layers.items():

        def noted(layer: nn.Module, inputs: tuple, output: Tensor, name: str = name) -> None:
            calls[name] = partial(layer.forward, *(each.clone() for each in inputs))
            sizes[name] = tuple(output.shape[-2:])

        hooks.append(layer.register_forward_hook(noted))
    try:
        model.forward(x)
    finally:
        for hook in hooks:
            hook.remove()
    for call in calls.values():
        call()
    times = take_turns(calls, device=device, seconds=seconds)
    return [
        LayerTime(
            name,
            isinstance(layers[name], DynamicConv2d),
            (layers[name].in_channels, layers[name].out_channels),
            sizes[name],
            *summary(times[name]),
        )
        for name in calls
    ]


def _convolutions(model: nn.Module) -> Mapping[str, nn.Module]:
    """Return the convolutions by name, without those that are parts of a dynamic one, as of its attention branch."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, CONVOLUTIONS)}
    dynamic = tuple(f"{name}." for name, module in found.items() if isinstance(module, DynamicConv2d))
    return {name: module for name, module in found.items() if not name.startswith(dynamic)}
