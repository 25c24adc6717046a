"""Time the dynamic depthwise layer, attention included, beside the static layer and the public formulation."""

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn

from dyc.benchmark.operators import LAYOUTS, STATIC, STATIC_LAST, Case, Contestant, Timing, compare, statics
from dyc.benchmark.peers import PeerLayer
from dyc.layers import DynamicConv2d

ATTENTIONS = ("dy", "dyc")
PEER = "peer"


def layer_name(attention: str, what: str) -> str:
    """Return the name of a contestant, such as ``"dyc auto"`` or ``"dyc peer"``."""
    return f"{attention} {what}"


def _contestant(layer: nn.Module, x: Tensor) -> Contestant:
    layer = layer.to(x.device, x.dtype)
    return Contestant(partial(layer, x), (x, *layer.parameters()))


def time_layers(case: Case, names: Iterable[str] = ("auto",), attentions: Iterable[str] = ATTENTIONS) -> list[Timing]:
    """Time ``dyc.DynamicConv2d`` on one case, with a bank of four kernels and no bias, as in MobileNetV2.

    The contestants: the static ones of :mod:`dyc.benchmark.operators`; for each attention ``"<attention> peer"``, the
    public formulation on NCHW features, and ``"<attention> <backend>"``. Backward gives gradients to features and all
    parameters.

    Args:
        case: The case.
        names: Backends.
        attentions: ``"dy"`` and ``"dyc"``.

    Raises:
        ArgumentError: Unknown backend or attention.
        BackendUnavailable: A backend cannot run the case.
    """
    channels = case.shape[0]
    x, planes = case.features(case.layout), case.features("nchw")
    found = statics(case)
    for attention in attentions:
        for name in names:
            options = {"groups": channels, "bias": False, "attention": attention, "backend": name}
            layer = DynamicConv2d(channels, channels, case.kernel, **case.window, **options)
            if layer_name(attention, PEER) not in found:
                found[layer_name(attention, PEER)] = _contestant(PeerLayer(layer), planes)
            # As in a network: its weights lie in the memory format of the features.
            layer = layer.to(memory_format=LAYOUTS[case.layout])
            found[layer_name(attention, name)] = _contestant(layer, x)

    def references(name: str) -> dict[str, str]:
        others = {STATIC: STATIC, STATIC_LAST: STATIC_LAST if STATIC_LAST in found else STATIC}
        peer = layer_name(name.split()[0], PEER)
        return {**others, PEER: peer} if peer in found else others

    return compare(case, found, references)
