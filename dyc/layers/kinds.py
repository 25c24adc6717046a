"""The kinds of attention by name. A new kind is one call of :func:`register_attention` in its own file."""

from collections.abc import Callable
from functools import partial

from torch import nn

from dyc.layers.attention import GlobalAttention
from ops import ArgumentError
from ops.errors import unknown_name

AttentionFactory = Callable[..., nn.Module]

_KINDS: dict[str, AttentionFactory] = {}


def register_attention(name: str, factory: AttentionFactory, *, replace: bool = False) -> None:
    """Make an attention branch usable as ``attention=name``.

    Args:
        name: The name.
        factory: Called as ``factory(in_channels, out_channels, num_kernels, temperature=..., **attention_kwargs)``;
            returns a module from ``(B, C_in, H, W)`` to ``(B, K)`` or ``(B, K, C_out)``. A branch with a
            temperature keeps it as a buffer of that name, as :class:`dyc.Attention` does.
        replace: Allow a name that is taken.

    Raises:
        ArgumentError: The name is taken.
    """
    if name in _KINDS and not replace:
        raise ArgumentError("name", repr(name), "a name that is not taken, or replace=True")
    _KINDS[name] = factory


def attention_kinds() -> tuple[str, ...]:
    """Return every registered name."""
    return tuple(_KINDS)


def check_attention(attention: str | AttentionFactory) -> AttentionFactory:
    """Return the factory of a kind given by name or as a callable; raise with suggestions for unknown names."""
    if isinstance(attention, str):
        if attention not in _KINDS:
            raise unknown_name("attention", attention, _KINDS)
        return _KINDS[attention]
    return attention


def build_attention(
    attention: str | AttentionFactory | nn.Module,
    in_channels: int,
    out_channels: int,
    num_kernels: int,
    temperature: float,
    attention_kwargs: dict | None = None,
) -> nn.Module:
    """Build the branch of one layer from a name, a factory, or a finished module (used as it is)."""
    if isinstance(attention, nn.Module):
        if attention_kwargs:
            raise ArgumentError("attention_kwargs", attention_kwargs, "nothing when attention is a finished module")
        return attention
    factory = check_attention(attention)
    try:
        return factory(in_channels, out_channels, num_kernels, temperature=temperature, **(attention_kwargs or {}))
    except TypeError as error:
        raise ArgumentError("attention_kwargs", attention_kwargs, f"what {attention!r} takes ({error})") from error


register_attention("dy", GlobalAttention)
register_attention("dyc", partial(GlobalAttention, per_channel=True))
