"""Turn BatchNorm, ReLU and convolution of a finished model into selective layers, in place."""

import re
import warnings
from collections.abc import Iterable
from typing import Literal

from torch import nn

from dyc.conversion.convertible import is_convolution
from dyc.conversion.fusing import keep_unfused
from dyc.conversion.history import note
from dyc.conversion.where import Where, chooser, listed, shown
from dyc.dynamic_model import check_model
from dyc.layers import MaskedConv2d, SelectiveConv2d
from dyc.selective.checkpoints import take_static_checkpoints
from dyc.selective.dataflow import trace
from dyc.selective.reasons import summary
from dyc.selective.rewire_network import iter_selective
from dyc.selective.triples import Triple, TripleFinder
from ops import ArgumentError, unknown_name

_PRESETS = {"pointwise": lambda name, conv: conv.kernel_size == (1, 1)}
"""What ``reallocate`` takes by name: the authors re-use channels of 1x1 convolutions, and close those of others."""


def _static(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions by name that are not selective."""
    if is_convolution(model) or isinstance(model, SelectiveConv2d):
        raise ArgumentError("model", "a convolution", "a module that holds convolutions behind BatchNorm and ReLU")
    return {
        name: module
        for name, module in model.named_modules()
        if is_convolution(module) and not isinstance(module, MaskedConv2d)
    }


def _chosen(model: nn.Module, convs: dict[str, nn.Module], where: Where) -> dict[str, nn.Module]:
    some = f"an expression or a callable that matches a convolution of the model ({listed(convs)})"
    need = f"{some}, or None for all that fit"
    meant = chooser("where", where, {}, need)
    picked = {name: conv for name, conv in convs.items() if meant(name, conv)}
    if not picked:
        got = f"{shown(where)}, which matches none of its {len(convs)} convolutions{_already(model)}"
        raise ArgumentError("where", got, need)
    return picked


def _already(model: nn.Module) -> str:
    count = len(list(iter_selective(model)))
    return f" ({count} layers are selective already)" if count else ""


def _reallocating(reallocate: bool | Where, convs: Iterable[str], what: str = "convolutions of the model"):
    if isinstance(reallocate, bool):
        return lambda name, conv: reallocate
    some = f"an expression or a callable that matches {what} ({listed(convs)})"
    need = f"True, False, 'pointwise', {some}"
    meant = chooser("reallocate", reallocate, _PRESETS, need)
    if isinstance(reallocate, str) and reallocate not in _PRESETS and not any(re.search(reallocate, c) for c in convs):
        raise unknown_name("reallocate", reallocate, _PRESETS, listing=need)
    return meant


def _found(
    model: nn.Module, where: Where | None, input_size: tuple[int, int, int] | None
) -> tuple[list[Triple], dict[str, str]]:
    """Return the triples of the chosen convolutions, and why others of them have none."""
    convs = _static(model)
    picked = convs if where is None else _chosen(model, convs, where)
    finder = TripleFinder(model, trace(model, input_size))
    if where is None:  # nobody means the layer that sees the image
        picked = {name: conv for name, conv in convs.items() if not finder.sees_the_image(name)}
    found = {name: finder.find(name) for name in picked}
    triples = [triple for triple in found.values() if isinstance(triple, Triple)]
    return triples, {name: reason for name, reason in found.items() if isinstance(reason, str)}


def _fitting(
    model: nn.Module, where: Where | None, unsupported: str, input_size: tuple[int, int, int] | None
) -> tuple[list[Triple], str]:
    """Return the triples to convert, and a sentence's beginning about the chosen convolutions without one."""
    triples, refused = _found(model, where, input_size)
    what = "a network in which no convolution follows another"
    if refused:
        count = "1 layer" if len(refused) == 1 else f"{len(refused)} layers"
        what = f"{count} that cannot become selective ({summary(refused, model)})"
    if not triples:
        need = "a convolution that follows a BatchNorm and a ReLU module of its own"
        raise ArgumentError("model" if where is None else "where", what + _already(model), need)
    if refused and unsupported == "raise":
        advice = 'choose others, or pass unsupported="warn" to leave these as they are'
        raise ArgumentError("where", sentence=f"matches {what}; {advice}")
    return triples, what if refused else ""


def unfit(
    model: nn.Module, where: Where | None = None, input_size: tuple[int, int, int] | None = None
) -> dict[str, str]:
    """Return by name why convolutions of a model cannot become selective.

    Args:
        model: As for :func:`make_selective`; it is not changed.
        where: Likewise; with None the stem is left out.
        input_size: Likewise.

    Returns:
        The reason for each of the chosen convolutions that :func:`make_selective` would leave as it is.

    Raises:
        ArgumentError: An argument cannot be used.

    Example:
        >>> import timm
        >>> unfit(timm.create_model("resnet26"))["layer1.0.conv1"]
        'its input comes from maxpool (MaxPool2d), not from a ReLU module'
    """
    check_model(model)
    return _found(model, where, input_size)[1]


def make_selective(
    model: nn.Module,
    *,
    where: Where | None = None,
    reallocate: bool | Where = "pointwise",
    drop_rate: float = 0.0,
    unsupported: Literal["raise", "warn"] = "warn",
    input_size: tuple[int, int, int] | None = None,
) -> nn.Module:
    """Turn every BatchNorm - ReLU - convolution of a model into a selective layer, in place.

    The model computes what it computed before, and owns the same parameters; each selective layer is at the place of
    its convolution, and ``nn.Identity()`` at those of norm and activation. A convolution fits if its input is the
    output of a ReLU module, and that of a BatchNorm, neither of which goes anywhere else: pre-activation networks, and
    the insides of the blocks of others. Which modules feed which is seen in one pass of a copy without data.

    Args:
        model: Any model that takes one image batch, such as timm's.
        where: None converts all that fit; a regular expression searched in the names of the convolutions, or
            ``where(name, conv) -> bool``, chooses.
        reallocate: Which layers can re-use closed channels, where others can only close them: ``"pointwise"``
            (1x1 convolutions, as the authors do), True, False, an expression or a callable.
        drop_rate: Dropout between activation and convolution of the selective layers, instead of what the model has
            there; 0 keeps that (``nn.Dropout`` and ``nn.Dropout2d``, which move into the layer).
        unsupported: What happens if chosen layers do not fit: ``"warn"`` once and convert the rest, or ``"raise"`` an
            error. Both give the reasons, and :func:`unfit` those of every layer. With ``where=None`` only the stem is
            left without a word.
        input_size: ``(C, H, W)`` of one image in pixels; by default what the model says of itself, or 224 pixels.

    Returns:
        ``model`` itself.

    Raises:
        ArgumentError: An argument cannot be used, or no layer fits; the model is then unchanged.

    Source: Jeong and Shin, ICML 2019, http://proceedings.mlr.press/v97/jeong19c.html

    Example:
        >>> import dyc, timm
        >>> model = make_selective(timm.create_model("densenet121"))
        >>> name, layer = next(dyc.iter_selective(model))
        >>> name, layer.in_channels, layer.reallocates
        ('features.denseblock1.denselayer1.conv1', 64, True)
    """
    check_model(model)
    if not isinstance(drop_rate, int | float) or not 0 <= drop_rate < 1:
        raise ArgumentError("drop_rate", drop_rate, "a probability in [0, 1)")
    if unsupported not in ("raise", "warn"):
        raise unknown_name("unsupported", unsupported, ("raise", "warn"))
    _reallocating(reallocate, _static(model))
    triples, left = _fitting(model, where, unsupported, input_size)
    reused = _reallocating(reallocate, [triple.conv for triple in triples], "convolutions that become selective")
    if left:
        warnings.warn(f"where: matches {left}; left as they are", stacklevel=2)
    modules = dict(model.named_modules())
    layers: dict[nn.Module, nn.Module] = {}
    for triple in triples:
        norm, act, conv = (modules[name] for name in (triple.norm, triple.act, triple.conv))
        inside = triple.act.startswith(f"{triple.norm}.")
        layer = SelectiveConv2d.wrap(
            norm,
            nn.Identity() if inside else act,
            conv,
            reallocate=bool(reused(triple.conv, conv)),
            drop_rate=drop_rate,
        )
        if triple.drop and not drop_rate:
            layer.drop = modules[triple.drop]
        layer.static_names = {"norm": triple.norm, "conv": triple.conv}  # where a static checkpoint has its parts
        if layer.shift is not None:
            layer.shift.requires_grad_(conv.weight.requires_grad)
        layers[conv] = layer
        for name in (triple.norm, "" if inside else triple.act, triple.drop):
            if name:
                layers[modules[name]] = nn.Identity().train(modules[name].training)
    # Only now, so that an error above leaves the model as it was; a module may have several names.
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in layers:
            model.set_submodule(name, layers[module])
    take_static_checkpoints(model)
    placed = set(layers.values())
    keep_unfused(model, placed.__contains__, "its norms and activations have moved into selective layers")
    note(
        model,
        "selective",
        layers=[triple.conv for triple in triples],
        reallocate=[triple.conv for triple in triples if layers[modules[triple.conv]].reallocates],
        drop_rate=drop_rate,
        input_size=None if input_size is None else list(input_size),
    )
    return model
