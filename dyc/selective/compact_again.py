"""A compact network built again, without the masks that it was made by: for its weights to be loaded."""

import torch
from torch import nn

from dyc.conversion.history import note
from dyc.layers.gathered import SelectChannels, ShiftChannels
from dyc.selective.compact_layer import assembled, narrow_outputs
from dyc.selective.rewire_network import selective_layers_of
from ops import ArgumentError


@torch.no_grad()
def compact_as(model: nn.Module, layers: dict[str, dict[str, int]], outputs: dict[str, int]) -> nn.Module:
    """Make of a network with selective layers, in place, a compact one that fits the weights of another.

    Which channels are selected and shifted is in those weights, which are to be loaded; until then it is any.

    Args:
        model: The network.
        layers: By the name of every selective layer, what :func:`dyc.selective.compact_layer.sizes` says of it.
        outputs: Output channels of the convolutions that lost some, by name.

    Raises:
        ArgumentError: Other layers are selective.
    """
    found = selective_layers_of(model)
    if found.keys() != layers.keys():
        differ = sorted(found.keys() ^ layers.keys())
        raise ArgumentError("layers", f"{len(layers)} layers, without or beside {differ[0]}", "the selective layers")
    replaced = {}
    for name, layer in found.items():
        size, device = layers[name], layer.mask.device
        count = size.get("shift", 0)
        slots, sources = torch.arange(count, device=device), torch.zeros(count, dtype=torch.long, device=device)
        index = torch.zeros(size.get("select", 0), dtype=torch.long, device=device)
        replaced[layer] = assembled(
            layer,
            torch.arange(size["norm"], device=device),
            SelectChannels(index) if "select" in size else None,
            ShiftChannels(slots, sources, layer.shift.detach()[:count].clone(), layer.backend) if count else None,
        )
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in replaced:
            model.set_submodule(name, replaced[module])
    for name, count in outputs.items():
        conv = model.get_submodule(name)
        narrow_outputs(conv, torch.arange(count, device=conv.weight.device))
    note(model, "compact", layers=layers, outputs=outputs)
    return model
