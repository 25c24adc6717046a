"""Which layers of a model are convolutions, and why one of them cannot become dynamic."""

from timm.layers import Conv2dSame
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from dyc.layers import DynamicConv2d, MaskedConv2d

_OWN = ("forward", "_conv_forward", "__call__", "__getattr__", "weight", "bias")
"""What a subclass of nn.Conv2d redefines if it computes anything else."""

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def is_convolution(module: nn.Module) -> bool:
    """Tell whether ``module`` is a static convolution of images, of whatever class.

    Besides :class:`torch.nn.Conv2d` and its subclasses these are the modules that describe themselves in the same
    terms, such as timm's ``CondConv2d`` or a transposed convolution: whoever chooses layers means them too.
    """
    if isinstance(module, nn.Conv2d | DynamicConv2d):
        return isinstance(module, nn.Conv2d)
    size = getattr(module, "kernel_size", None)
    described = all(isinstance(getattr(module, name, None), int) for name in ("in_channels", "out_channels", "groups"))
    return described and isinstance(size, tuple) and len(size) == 2 and "weight" in module._parameters


def same_padding(conv: nn.Conv2d) -> bool:
    """Tell whether ``conv`` pads to "same" in a way that no symmetric padding expresses."""
    if type(conv).forward is Conv2dSame.forward:
        return True
    return conv.padding == "same" and any(d * (k - 1) % 2 for k, d in zip(conv.kernel_size, conv.dilation))


def _computes_more(kind: type) -> bool:
    """Tell whether a subclass of nn.Conv2d does more than bear another name."""
    plain = Conv2dSame if issubclass(kind, Conv2dSame) else nn.Conv2d
    return any(getattr(kind, name, None) is not getattr(plain, name, None) for name in _OWN)


def has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody registered a hook on ``module``."""
    return any(getattr(module, name) for name in _HOOKS)


def keep_hooks(old: nn.Module, new: nn.Module) -> None:
    """Let the hooks of ``old`` be those of ``new``, which takes its place."""
    for name in _HOOKS:
        getattr(new, name).update(getattr(old, name))


def altered(conv: nn.Module) -> str | None:
    """Return what makes ``conv`` another thing than an :class:`torch.nn.Conv2d` that another layer can stand for."""
    kind = type(conv).__name__
    if not isinstance(conv, nn.Conv2d):
        return f"its class {kind} is not an nn.Conv2d"
    if isinstance(conv, MaskedConv2d):
        return "it belongs to a SelectiveConv2d, which opens and closes its input channels"
    if is_parametrized(conv):
        return f"{' and '.join(conv.parametrizations)} is computed by torch.nn.utils.parametrize; remove that first"
    if _computes_more(type(conv)):
        return f"its class {kind} computes more than nn.Conv2d"
    if "forward" in conv.__dict__:
        return "its forward was replaced"
    if not {"weight", "bias"} <= conv._parameters.keys():
        return "its weight or bias is computed elsewhere, as by weight_norm or pruning; remove that first"
    if type(conv.weight) is not nn.Parameter:
        return f"its weight is of type {type(conv.weight).__name__}, not nn.Parameter"
    held = [*conv._parameters, *conv._buffers, *conv._modules]
    if len(held) > 2:
        return f"it holds more than weight and bias: {', '.join(held[2:])}"
    if has_hooks(conv):
        return "it has hooks, which would be lost; register them on the layer that replaces it"
    return None


def why_not(conv: nn.Module) -> str | None:
    """Return why a convolution by itself cannot become dynamic, or None if it can."""
    reason = altered(conv)
    if reason is not None:
        return reason
    if conv.padding_mode != "zeros":
        return f"its padding_mode {conv.padding_mode!r} is not 'zeros'"
    return None


def shared_parameters(model: nn.Module) -> dict[nn.Module, str]:
    """Return the modules of ``model`` that hold a parameter which others hold too, and the names of those others."""
    holders: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for parameter in filter(lambda p: p is not None, module._parameters.values()):
            holders.setdefault(id(parameter), []).append((name, module))
    others: dict[nn.Module, set[str]] = {}
    for held in filter(lambda group: len(group) > 1, holders.values()):
        for _, module in held:
            others.setdefault(module, set()).update(name for name, other in held if other is not module)
    return {module: ", ".join(sorted(names)) for module, names in others.items() if names}


def reasons(model: nn.Module, convs: dict[str, nn.Module]) -> dict[str, str]:
    """Return by name why convolutions of ``model`` cannot become dynamic; those that can are left out."""
    shared = shared_parameters(model)
    found = {}
    for name, conv in convs.items():
        reason = why_not(conv)
        if reason is None and conv in shared:
            reason = f"it shares parameters with {shared[conv]}"
        if reason is not None:
            found[name] = reason
    return found
