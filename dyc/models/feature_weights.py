"""Weights of a whole network, loaded into its form that returns features (``features_only=True``)."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the very parameters and buffers of a network that a file of weights holds, by name."""
    return model.state_dict(keep_vars=True)


def take_whole_weights(features: nn.Module, whole: Mapping[str, Tensor]) -> None:
    """Let ``features.load_state_dict`` take the weights of the whole network too, where timm has given it other names.

    Args:
        features: What timm made of the network, which holds some of its parameters.
        whole: What :func:`named_tensors` returned of the network before.
    """
    names = {id(tensor): name for name, tensor in whole.items()}
    kept = {name: names[id(tensor)] for name, tensor in named_tensors(features).items() if id(tensor) in names}
    features.register_load_state_dict_pre_hook(partial(_from_whole, kept=kept, whole=frozenset(whole)))


def _from_whole(
    module: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    *_,
    kept: Mapping[str, str],
    whole: frozenset[str],
) -> None:
    """Rename what a state of the whole network has for the features, and leave the rest out."""
    if not all(prefix + name in state_dict for name in kept.values()):
        return
    loaded = {prefix + own: state_dict[prefix + name] for own, name in kept.items()}
    for name in whole:
        state_dict.pop(prefix + name, None)
    state_dict.update(loaded)
