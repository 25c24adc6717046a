"""Take closed channels out of a network with selective layers: a smaller, ordinary network."""

import copy

import torch
from torch import nn

from dyc.conversion.convertible import has_hooks, shared_parameters, why_not
from dyc.conversion.history import note
from dyc.layers.selective_conv import MaskedConv2d, SelectiveConv2d
from dyc.selective.compact_layer import compact_layer, narrow_outputs, plan_of, sizes
from dyc.selective.dataflow import Dataflow, Value, trace
from dyc.selective.rewire_network import selective_layers_of
from dyc.selective.triples import feature_levels
from ops import ArgumentError


def _few(layer: SelectiveConv2d, keep_below: float) -> bool:
    """Tell whether some channels are closed, but less than this share of them."""
    return 0 < int((~layer.mask).sum()) < keep_below * layer.in_channels


def _producers(model: nn.Module, flow: Dataflow, layers: dict[str, SelectiveConv2d]) -> dict[str, str]:
    """Return for selective layers the convolution that makes their input for them alone, both by name."""
    modules = dict(model.named_modules())
    shared = shared_parameters(model)
    features = feature_levels(model)
    found = {}
    for name in layers:
        calls = flow.calls.get(name, ())
        if len(calls) != 1 or not calls[0].inputs or not _used_by_one(calls[0].inputs[0], name):
            continue
        value = calls[0].inputs[0]
        producer = value.producer.module if value.producer is not None else ""
        conv = modules[producer]
        plain = isinstance(conv, MaskedConv2d) or (isinstance(conv, nn.Conv2d) and why_not(conv) is None)
        if not plain or conv.groups != 1 or conv in shared or len(flow.calls[producer]) != 1:
            continue
        # Whoever looks at the features in between counts on all of their channels.
        watched = any(has_hooks(modules[other]) for other in value.seen_by if other != name)
        if value in flow.calls[producer][0].outputs and not watched and not value.seen_by & features:
            found[name] = producer
    return found


def _used_by_one(value: Value, name: str) -> bool:
    inside = all(op.module == name or op.module.startswith(f"{name}.") for op in value.consumers)
    return inside and not value.is_output


@torch.no_grad()
def compact(model: nn.Module, *, keep_below: float = 0.0, input_size: tuple[int, int, int] | None = None) -> nn.Module:
    """Return a smaller, ordinary network without the closed channels of ``model``.

    Every selective layer becomes a BatchNorm, an activation and a convolution of its open channels. They are selected
    from the layer's input; where a convolution makes that input for this layer alone, as in bottlenecks, it makes
    only what is read instead. Re-used channels stay shifted copies of others. In evaluation mode the outputs are those
    of ``model`` to rounding, and the network can be trained further.

    Args:
        model: A network with selective layers; it is not changed.
        keep_below: A layer of which some channels, but less than this share, are closed keeps all of them, closed
            ones with weights of zero. Few closed channels do not pay for a selection, which is one more pass through
            the features, nor for widths that suit the kernels less. On a CPU in channels-last format, DenseNets break
            even between 0.15 (DenseNet-121) and 0.25 (DenseNet-100). With 0 every closed channel goes, and the number
            of parameters follows from the masks.
        input_size: ``(C, H, W)`` of one image in pixels; by default what the model says of itself, or 224 pixels.

    Returns:
        A new network. A layer whose channels are all closed keeps one, with weights of zero.

    Raises:
        ArgumentError: The model has no selective layer or no data, or does not take an image of ``input_size``, or
            ``keep_below`` is not a share.

    Example:
        >>> import dyc, timm
        >>> model = dyc.make_selective(timm.create_model("densenet121"))
        >>> layer = model.features.denseblock1.denselayer1.conv1
        >>> layer.mask[:32] = False
        >>> layer.refresh()
        >>> compact(model).features.denseblock1.denselayer1.conv1.conv
        Conv2d(32, 128, kernel_size=(1, 1), stride=(1, 1), bias=False)
    """
    selective_layers_of(model)
    if isinstance(keep_below, bool) or not isinstance(keep_below, int | float) or not 0 <= keep_below <= 1:
        raise ArgumentError("keep_below", keep_below, "a share of channels in [0, 1]")
    flow = trace(model, input_size)
    model = copy.deepcopy(model)
    layers = selective_layers_of(model)
    whole = {name for name, layer in layers.items() if _few(layer, keep_below)}
    plans = {name: plan_of(layer, name in whole) for name, layer in layers.items()}
    producers = {name: made for name, made in _producers(model, flow, layers).items() if name not in whole}
    produced = {name: plans[name].read.unique() for name in producers}
    modules = dict(model.named_modules())
    replaced = {layer: compact_layer(layer, plans[name], produced.get(name)) for name, layer in layers.items()}
    replaced_convs = {layer.conv: parts.conv for layer, parts in replaced.items()}
    outputs = {}
    for name, producer in producers.items():
        conv = replaced_convs.get(modules[producer], modules[producer])
        if produced[name].shape[0] < conv.out_channels:
            narrow_outputs(conv, produced[name])
            outputs[producer] = conv.out_channels
    if model in replaced:
        return replaced[model]
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in replaced:
            model.set_submodule(name, replaced[module])
    note(model, "compact", layers={name: sizes(replaced[layer]) for name, layer in layers.items()}, outputs=outputs)
    return model
