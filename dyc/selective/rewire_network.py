"""Close and re-use channels of every selective layer of a network, weights and optimiser state included."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dyc.dynamic_model import check_model
from dyc.layers.selective_conv import SelectiveConv2d
from dyc.selective.importance import activity_level, channel_damage, channel_scores
from dyc.selective.optimizer_state import forget_channels
from dyc.selective.rules import Reallocation, check_rule, dealloc, realloc
from ops import ArgumentError


class Rewiring(NamedTuple):
    """What happens to one layer: ``closed`` ``(C_in,)`` is True for channels that close, some of which re-open."""

    closed: Tensor
    reallocation: Reallocation


def iter_selective(model: nn.Module) -> Iterator[tuple[str, SelectiveConv2d]]:
    """Yield the name and layer of every selective convolution of ``model``.

    Raises:
        ArgumentError: ``model`` is no module; at the call already.
    """
    check_model(model)
    return ((name, module) for name, module in model.named_modules() if isinstance(module, SelectiveConv2d))


def selective_layers_of(model: nn.Module) -> dict[str, SelectiveConv2d]:
    """Return the selective layers of ``model`` by name.

    Raises:
        ArgumentError: There is none, or they are on the meta device, where nothing is known of channels.
    """
    layers = dict(iter_selective(model))
    if not layers:
        raise ArgumentError(
            "model", "a network without selective layers", "a network that has some, such as dyc.make_selective makes"
        )
    if any(layer.mask.is_meta or layer.conv.weight.is_meta for layer in layers.values()):
        raise ArgumentError(
            "model",
            "a network without data, on the meta device",
            "a network that holds data, as its masks and weights decide",
        )
    return layers


def _measured(layer: SelectiveConv2d) -> tuple[Tensor, Tensor, Tensor]:
    """Return summed kernels ``(C_out, C_in, 1, 1)``, expected activations and mask ``(C_in,)`` on the CPU."""
    kernels = layer.conv.weight.sum((2, 3), keepdim=True, dtype=torch.float32)
    activity = activity_level(layer.norm.bias.float(), layer.norm.weight.float())
    return kernels.cpu(), activity.cpu(), layer.mask.cpu()


@torch.no_grad()
def layer_shares(layer: SelectiveConv2d) -> Tensor:
    """Return the share of each input channel of a layer in each of its outputs, ``(C_out, C_in)``, on the CPU."""
    return channel_damage(*_measured(layer))


def layer_scores(layer: SelectiveConv2d) -> Tensor:
    """Return the importance of each input channel of a layer, ``(C_in,)``, on the CPU."""
    return channel_scores(layer_shares(layer))


@torch.no_grad()
def plan_rewiring(
    model: nn.Module,
    gamma: float = 1e-3,
    num_sources: int = 3,
    max_uses: int | None = None,
    generator: torch.Generator | None = None,
    *,
    soft_limit: bool = False,
) -> dict[str, Rewiring]:
    """Decide for every selective layer which channels close and which are re-used; nothing changes yet.

    Args:
        model: A network with selective layers; see :func:`dyc.make_selective`.
        gamma: Largest share of any output that a layer may lose; see :func:`dealloc`.
        num_sources: Channels to choose sources from, ``K``; 0 only closes channels (compression).
        max_uses: How often a channel may be read by others, ``N_max``; see :func:`realloc`.
        generator: Source of random numbers, on the CPU.
        soft_limit: Let ``max_uses`` be the authors' soft limit; see :func:`realloc`.

    Returns:
        A :class:`Rewiring` per layer, its tensors on the CPU, so that one process can decide for all.

    Raises:
        ArgumentError: An argument is out of range, or the model has no selective layer, or one whose weights are not
            finite, so that no channel's share can be computed.
    """
    check_rule(gamma, num_sources, max_uses, soft_limit)
    plan = {}
    for name, layer in selective_layers_of(model).items():
        kernels, activity, mask = _measured(layer)
        shares = channel_damage(kernels, activity, mask)
        if not shares.isfinite().all():
            where = repr(name) if name else "the layer"
            sentence = f"the weights or the norm of {where} are not finite; the training has diverged"
            raise ArgumentError("model", sentence=sentence)
        closed = dealloc(shares, gamma) | ~mask  # what is closed stays closed where the rule closes none
        scores = channel_scores(channel_damage(kernels, activity, ~closed))  # shares among those that stay open
        pointers = layer.pointers.cpu().masked_fill(closed, -1)
        sources = num_sources if layer.reallocates else 0
        drawn = realloc(scores, ~closed, pointers, sources, max_uses, generator, soft_limit=soft_limit)
        plan[name] = Rewiring(closed, drawn)
    return plan


@torch.no_grad()
def apply_rewiring(model: nn.Module, plan: dict[str, Rewiring], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Change the selective layers of ``model`` as decided, in place.

    A re-used channel copies norm and running statistics of its source and starts with weights of zero, so that opening
    it changes no output.

    Args:
        model: The network, or one of the same layers: a moving average must be changed in the same way, because
            it takes over masks and pointers as numbers only.
        plan: What :func:`plan_rewiring` returned.
        optimizer: Let it forget what it remembers (momentum and the like) of the channels that are re-used: of the
            weights' columns, of scale and offset of the norm, and of the shift. None leaves that, as the authors'
            code does, where what a channel learned before it was closed moves it once more.

    Raises:
        ArgumentError: The model has no selective layer, or others than the plan.
    """
    layers = selective_layers_of(model)
    if plan.keys() != layers.keys():
        odd = min(plan.keys() ^ layers.keys())
        sentence = f"was made for other layers: only one of plan and model has {odd!r}; use plan_rewiring(model)"
        raise ArgumentError("plan", sentence=sentence)
    for name, (closed, new) in plan.items():
        layer = layers[name]
        device = layer.pointers.device
        slots, sources, pointers, shifts = (t.to(device) for t in new)
        layer.pointers.masked_fill_(closed.to(device), -1)
        layer.mask.copy_(~closed)
        layer.mask[slots] = True
        layer.pointers[slots] = pointers
        norm = layer.norm
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values[slots] = values[sources]
        layer.conv.weight[:, slots] = 0
        if layer.shift is not None:
            layer.shift[slots] = shifts.to(layer.shift.dtype)
        layer.refresh()
        if optimizer is not None:
            forget_channels(optimizer, layer, slots)


def rewire(
    model: nn.Module,
    gamma: float = 1e-3,
    num_sources: int = 3,
    max_uses: int | None = None,
    generator: torch.Generator | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    soft_limit: bool = False,
) -> dict[str, Rewiring]:
    """Close channels that no output needs, and re-use them for shifted copies of important ones.

    :func:`plan_rewiring` and :func:`apply_rewiring` in one; see there for the arguments, the result and errors. If
    there is a moving average of the weights, ``apply_rewiring(average, plan)`` changes it in the same way.

    Example:
        >>> import dyc
        >>> layer = dyc.SelectiveConv2d(8, 4, 1)
        >>> with torch.no_grad():
        ...     layer.conv.weight[:, 5] = 0
        >>> _ = rewire(layer, num_sources=0)
        >>> layer.mask.tolist()
        [True, True, True, True, True, False, True, True]
    """
    plan = plan_rewiring(model, gamma, num_sources, max_uses, generator, soft_limit=soft_limit)
    apply_rewiring(model, plan, optimizer)
    return plan
