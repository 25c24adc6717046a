"""Layers that an analysis is asked for by name."""

from dyc.dynamic_model import iter_dynamic
from dyc.segmentation import SegmentationNetwork
from dyc.segmentation.backbone import whole
from experiments.analyze.networks import Network
from ops import ArgumentError, unknown_name


def layer_name(network: Network, given: str, option: str = "--layer", dynamic: bool = False) -> str:
    """Return the whole name of a layer.

    Args:
        network: Its network; for segmentation, layers of the backbone also have the names that a classifier gives them.
        given: What the user calls it.
        option: Where it was given.
        dynamic: Refuse layers that are static.

    Raises:
        ArgumentError: There is no such layer; proposes others.
    """
    layers = [name for name, _ in network.module.named_modules() if name]
    prefix = _backbone(network)
    known = [name for name, _ in iter_dynamic(network.module)] if dynamic else layers
    for name in (given, prefix + given):
        if name in known:
            return name
    kind = "dynamic layer" if dynamic else "layer"
    some = ", ".join(repr(name) for name in known[:: -(-len(known) // 3)])
    need = f"a {kind} of {network.label}, such as {some}"
    if dynamic and (given in layers or prefix + given in layers):
        raise ArgumentError(option, f"{given!r}, which is not dynamic", need)
    short = [name.removeprefix(prefix) for name in known]
    raise unknown_name(option, given, short, listing=need)


def _backbone(network: Network) -> str:
    """Return how the names of the backbone's layers begin; nothing where the network is no backbone with a head."""
    if not isinstance(network.module, SegmentationNetwork):
        return ""
    backbone = network.module.backbone
    return "backbone." if whole(backbone) is backbone else "backbone.model."
