"""The kinds of attention by name. A new kind is one call of :func:`register_attention` in its own file.

Files in ``dyc/layers/attentions`` are found by themselves; other distributions announce theirs in the entry-point
group ``dyc.attentions``.
"""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import entry_points

from torch import nn

from ops import ArgumentError, unknown_name

ENTRY_POINT_GROUP = "dyc.attentions"

AttentionFactory = Callable[..., nn.Module]

_KINDS: dict[str, AttentionFactory] = {}
_LOADED: set[str] = set()  # the entry-point group, once its distributions were asked


def register_attention(name: str, factory: AttentionFactory, *, replace: bool = False) -> None:
    """Make an attention branch usable as ``attention=name``.

    Args:
        name: The name.
        factory: Called as ``factory(in_channels, out_channels, num_kernels, temperature=..., **attention_kwargs)``,
            with ``kernel_size=(kH, kW)`` and ``groups=`` too if its signature names them. It returns a module from
            ``(B, C_in, H, W)`` to ``(B, K)``, ``(B, K, C_out)`` or a :class:`dyc.KernelAttention`. A branch with a
            temperature keeps it as a buffer of that name, as :class:`dyc.Attention` does. One whose weights do not
            sum to one says so by the attribute ``sums_to_one = False``; a float ``copy_scale`` (and
            ``copy_bias_scale``, where biases need another) then says by what copied kernels are to be multiplied so
            that a converted model keeps its output.
        replace: Allow a name that is taken.

    Raises:
        ArgumentError: Not a name, not callable, or the name is taken.
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError("name", repr(name), "a name for the kind of attention")
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ArgumentError("factory", type(factory).__name__, "a class or function that builds a module per layer")
    if name in _KINDS and not replace:
        sentence = f"{name!r} is taken by {_describe(_KINDS[name])}; choose another name, or pass replace=True"
        raise ArgumentError("name", sentence=sentence)
    _KINDS[name] = factory


def attention_kinds() -> tuple[str, ...]:
    """Return every registered name, those of installed distributions included."""
    load_entry_points()
    return tuple(_KINDS)


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package's folders, so that what each registers is known."""
    for info in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{info.name}")


def load_entry_points() -> None:
    """Register the kinds of installed distributions (entry-point group ``dyc.attentions``), at the first call.

    Each entry point names a module to import, a function that registers kinds when called without arguments, or the
    class or factory of an attention itself, which then has the entry point's name. One that fails is warned of by
    name. Not done by ``import dyc``: looking through a large environment takes long, and only a name that is not known
    yet, or a listing, needs it.
    """
    if ENTRY_POINT_GROUP in _LOADED:
        return
    _LOADED.add(ENTRY_POINT_GROUP)  # first: what is loaded may itself ask for the kinds
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = entry.load()
            if _builds_attention(loaded):
                if _KINDS.get(entry.name) is not loaded:  # its own module may have registered it
                    register_attention(entry.name, loaded)
            elif callable(loaded):
                loaded()
        except Exception as error:
            owner = f" of the distribution {entry.dist.name!r}" if entry.dist else ""
            what = f"the attention kinds {entry.name!r} ({entry.value}){owner} failed to load"
            warnings.warn(f"{what}: {type(error).__name__}: {error}", stacklevel=2)


def _builds_attention(loaded: object) -> bool:
    """Tell whether an entry point names an attention: a class, or what cannot be called without arguments."""
    if not callable(loaded):
        return False
    try:
        _signature(loaded).bind()
    except TypeError:
        return True
    return isinstance(loaded, type)


def check_attention(attention: str | AttentionFactory) -> AttentionFactory:
    """Return the factory of a kind given by name or as a callable; raise with suggestions for unknown names."""
    if not isinstance(attention, str):
        if not callable(attention):
            raise ArgumentError("attention", repr(attention), "a name, a factory or a module")
        return attention
    if attention not in _KINDS:
        load_entry_points()
        if attention not in _KINDS:
            raise unknown_name("attention", attention, _KINDS)
    return _KINDS[attention]


def build_attention(
    attention: str | AttentionFactory | nn.Module,
    in_channels: int,
    out_channels: int,
    num_kernels: int,
    temperature: float,
    attention_kwargs: dict | None = None,
    *,
    kernel_size: tuple[int, int] | None = None,
    groups: int | None = None,
) -> nn.Module:
    """Build the branch of one layer from a name, a factory, or a finished module (used as it is).

    ``kernel_size`` and ``groups`` are given to factories whose signature names them.
    """
    if isinstance(attention, nn.Module):
        if attention_kwargs:
            sentence = f"{attention_kwargs} cannot be given to a finished module; leave them out, or name the attention"
            raise ArgumentError("attention_kwargs", sentence=sentence)
        return attention
    if attention_kwargs is not None and not isinstance(attention_kwargs, Mapping):
        raise ArgumentError("attention_kwargs", repr(attention_kwargs), "a dict")
    factory = check_attention(attention)
    offered = {"kernel_size": kernel_size, "groups": groups}
    named = _named_arguments(factory)
    options = {name: value for name, value in offered.items() if name in named and value is not None}
    options |= {"temperature": temperature, **(attention_kwargs or {})}
    try:  # before the call, whose own errors are no fault of the arguments
        _signature(factory).bind(in_channels, out_channels, num_kernels, **options)
    except TypeError as error:
        raise ArgumentError("attention_kwargs", attention_kwargs, f"what {attention!r} takes ({error})") from error
    branch = factory(in_channels, out_channels, num_kernels, **options)
    if not isinstance(branch, nn.Module):
        raise ArgumentError("attention", f"a {type(branch).__name__} from {_describe(factory)}", "an nn.Module")
    return branch


def copy_scales(branch: nn.Module, attention: str | AttentionFactory, *, loading: bool = False) -> tuple[float, float]:
    """Return by what kernels and biases are multiplied when they are copied, so that the output is kept.

    Args:
        branch: The attention of a layer.
        attention: What it was built from.
        loading: The copies come from a checkpoint rather than by ``init="copy"``; for the error.

    Raises:
        ArgumentError: Its weights do not sum to one, and it does not say by what to multiply.
    """
    if getattr(branch, "sums_to_one", True):
        return 1.0, 1.0
    scale = getattr(branch, "copy_scale", None)
    if scale is None:
        named = repr(attention) if isinstance(attention, str) else _describe(attention)
        what = f"attention {named}, whose weights do not sum to one and which has no copy_scale"
        others = ["an attention that has one"] if loading else ["'independent'"]
        if "zero_init" in _named_arguments(check_attention(attention)):
            others.append("attention_kwargs={'zero_init': True}, with which it has one")
        if loading:
            raise ArgumentError("weights", f"those of a static network for {what}", ", or ".join(others))
        raise ArgumentError("init", f"'copy' for {what}", ", or ".join(others))
    bias_scale = getattr(branch, "copy_bias_scale", None)
    return float(scale), float(scale if bias_scale is None else bias_scale)


def _signature(factory: AttentionFactory) -> inspect.Signature:
    try:
        return inspect.signature(factory)
    except ValueError:  # some callables written in C have none: anything goes
        anything = {"args": inspect.Parameter.VAR_POSITIONAL, "options": inspect.Parameter.VAR_KEYWORD}
        return inspect.Signature([inspect.Parameter(name, kind) for name, kind in anything.items()])


def _named_arguments(factory: AttentionFactory) -> set[str]:
    return set(_signature(factory).parameters)


def _describe(factory: AttentionFactory) -> str:
    while isinstance(factory, partial):
        factory = factory.func
    named = factory if hasattr(factory, "__qualname__") else type(factory)
    return f"{named.__module__}.{named.__qualname__}"
