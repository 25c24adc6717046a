"""Turn convolutions of a finished model dynamic, in place."""

import warnings
from typing import Literal

from torch import nn

from dyc.conversion.convertible import is_convolution, reasons, same_padding
from dyc.conversion.fusing import keep_unfused
from dyc.conversion.history import note
from dyc.conversion.presets import PRESETS
from dyc.conversion.where import Where, chooser, listed, shown
from dyc.dynamic_model import check_model, iter_dynamic, set_backend_where_it_fits
from dyc.layers import DynamicConv2d, DynamicConv2dSame
from dyc.layers.attention import check_temperature
from dyc.layers.kinds import AttentionFactory, check_attention, copy_scales
from ops import ArgumentError, check_backend_name, unknown_name


def _select(model: nn.Module, where: Where) -> dict[str, nn.Module]:
    """Return the chosen convolutions by name; an empty choice is an error."""
    if is_convolution(model):
        raise ArgumentError("model", "a convolution", "a module that holds convolutions, such as nn.Sequential")
    convs = {name: module for name, module in model.named_modules() if is_convolution(module)}
    if isinstance(where, str) and where in PRESETS:
        meant = PRESETS[where](model, convs)
        picked = {name: conv for name, conv in convs.items() if name in meant}
    else:
        chosen = chooser("where", where, {}, _needs_where(convs))
        picked = {name: conv for name, conv in convs.items() if chosen(name, conv)}
    if not picked:
        dynamic = len(list(iter_dynamic(model)))
        already = f" ({dynamic} layers are dynamic already)" if dynamic else ""
        got = f"{shown(where)}, which matches none of its {len(convs)} convolutions{already}"
        # A bare word is a misspelt preset rather than an expression that was meant to match nothing.
        if isinstance(where, str) and where.isidentifier() and where not in PRESETS:
            raise unknown_name("where", where, PRESETS, listing=_needs_where(convs))
        raise ArgumentError("where", got, _needs_where(convs))
    return picked


def _needs_where(convs: dict[str, nn.Conv2d]) -> str:
    presets, names = ", ".join(map(repr, PRESETS)), listed(convs)
    return f"a preset ({presets}), an expression or a callable that matches a convolution of the model ({names})"


def _refuse(model: nn.Module, picked: dict[str, nn.Module], unsupported: str) -> dict[str, nn.Conv2d]:
    """Return the convolutions that can become dynamic; name the others in an error or a warning."""
    refused = reasons(model, picked)
    rest = {name: conv for name, conv in picked.items() if name not in refused}
    if refused:
        count = "1 layer" if len(refused) == 1 else f"{len(refused)} layers"
        what = f"{count} that cannot become dynamic ({_by_reason(refused)})"
        if unsupported == "raise" or not rest:
            other = ', or pass unsupported="warn" to leave these static' if rest else ""
            raise ArgumentError("where", sentence=f"matches {what}; choose others{other}")
        warnings.warn(f"where: matches {what}; left static", stacklevel=3)
    return rest


def _by_reason(refused: dict[str, str]) -> str:
    """Return each reason once, after the first three of its layers and the number of the others."""
    names: dict[str, list[str]] = {}
    for name, reason in refused.items():
        names.setdefault(reason, []).append(name)
    clauses = []
    for reason, layers in names.items():
        more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
        clauses.append(f"{', '.join(layers[:3])}{more}: {reason}")
    return "; ".join(clauses)


def _dynamic_like(conv: nn.Conv2d, **options) -> DynamicConv2d:
    """Build the dynamic layer in place of ``conv``, on its device, in its dtype and mode."""
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)
    rest = (conv.dilation, conv.groups, conv.bias is not None)
    if same_padding(conv):
        layer = DynamicConv2dSame(*sizes, *rest, **options)
    else:
        layer = DynamicConv2d(*sizes, conv.padding, *rest, **options)
    layer.to(conv.weight.device, conv.weight.dtype).train(conv.training)
    layer.weight.requires_grad_(conv.weight.requires_grad)
    if conv.bias is not None:
        layer.bias.requires_grad_(conv.bias.requires_grad)
    return layer


def make_dynamic(
    model: nn.Module,
    attention: str | AttentionFactory = "dyc",
    *,
    where: Where = "depthwise",
    num_kernels: int = 4,
    init: Literal["copy", "independent"] = "copy",
    temperature: float = 30.0,
    backend: str = "auto",
    attention_kwargs: dict | None = None,
    unsupported: Literal["raise", "warn"] = "raise",
) -> nn.Module:
    """Turn chosen convolutions of a model dynamic, in place.

    With ``init="copy"`` the model computes what it computed before, so that a pretrained model can become dynamic
    without losing what it knows. It needs an attention that sums to one, or one that says by what each kernel is to
    be multiplied (``copy_scale``), as ``"condconv"`` and ``"odconv"`` do with ``attention_kwargs={"zero_init": True}``.

    Args:
        model: Any model with :class:`torch.nn.Conv2d` layers; timm's ``Conv2dSame`` and subclasses that only bear
            another name are converted too. A layer with several names in the model stays one layer.
        attention: A registered kind or a factory; see :func:`dyc.register_attention`.
        where: ``"depthwise"``: every depthwise convolution. ``"blocks"``: those inside the stages, without stem, head
            and classifier; a 1x1 convolution that stands alone behind the blocks, as MobileNet's last, is a head.
            ``"all_but_stem"``: every one but those of the stem and those that classify; the head is among them. Or a
            regular expression searched in the layers' names, or ``where(name, conv) -> bool``.
        num_kernels: Kernels per layer, ``K``.
        init: ``"copy"`` sets every kernel to the static one, times ``copy_scale`` where the attention has one;
            ``"independent"`` draws each by its true fan-in.
        temperature: Softmax temperature to start with.
        backend: ``"auto"`` or a registered name, set as :func:`dyc.set_backend` does: layers whose operator the backend
            does not have keep ``"auto"``, with a warning that names them.
        attention_kwargs: Further arguments of the attention kind.
        unsupported: What happens if chosen layers cannot become dynamic: ``"raise"`` an error, or ``"warn"`` once and
            convert the rest. Both give every reason with up to three of its layers; :func:`dyc.dynamic_layers` with
            ``static=True`` gives that of each layer.

    Returns:
        ``model`` itself. Blocks that hold a dynamic layer can no longer be fused into one convolution: timm's
        ``reparameterize_model`` leaves them as they are, with a warning, and fuses the rest.

    Raises:
        ArgumentError: An argument cannot be used, nothing matches ``where``, or a matching convolution cannot
            become dynamic (the reasons are given); the model is then unchanged.
        BackendUnavailable: The backend has the operator of none of the layers; the model is then unchanged.

    Example:
        >>> import dyc, timm
        >>> model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), "dyc", where=r"^blocks\\.[56]\\..*conv_dw$")
        >>> len(list(dyc.iter_dynamic(model)))
        4
    """
    if isinstance(attention, nn.Module):
        got = f"a finished {type(attention).__name__}"
        raise ArgumentError("attention", got, "a name or a factory, as each layer gets a branch of its own")
    if attention is None:
        need = "a name or a factory, as a layer without a branch must be handed its weights in every call"
        raise ArgumentError("attention", None, need)
    check_model(model)
    check_attention(attention)
    check_backend_name(backend)
    check_temperature(temperature)
    if init not in ("copy", "independent"):
        raise unknown_name("init", init, ("copy", "independent"))
    if unsupported not in ("raise", "warn"):
        raise unknown_name("unsupported", unsupported, ("raise", "warn"))
    layers: dict[nn.Module, DynamicConv2d] = {}
    picked = _refuse(model, _select(model, where), unsupported)
    for conv in picked.values():
        layer = layers[conv] = _dynamic_like(
            conv,
            num_kernels=num_kernels,
            attention=attention,
            temperature=temperature,
            attention_kwargs=attention_kwargs,
        )
        if init == "copy":
            layer.copy_from(conv, *copy_scales(layer.attention, attention))
    operators = [(name, layers[conv], layers[conv].operator) for name, conv in picked.items()]
    set_backend_where_it_fits(operators, backend)
    # Only now, so that an error above leaves the model as it was; a layer may have several names.
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in layers:
            model.set_submodule(name, layers[module])
    why = "it holds dynamic convolutions, whose kernels change with each input"
    keep_unfused(model, lambda module: isinstance(module, DynamicConv2d), why)
    # Weights and temperature are in the file beside these; the backend is a matter of the machine.
    note(
        model,
        "dynamic",
        layers=list(picked),
        attention=attention,
        num_kernels=num_kernels,
        attention_kwargs=dict(attention_kwargs or {}),
    )
    return model
