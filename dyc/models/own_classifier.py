"""Weights of a network with another number of classes: all but the classifier's are loaded."""

import warnings

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def keep_own_classifier(model: nn.Module) -> RemovableHandle:
    """Let ``model.load_state_dict`` take weights that differ in the number of classes, and warn of it.

    The network then keeps the classifier that it has, and one without classes has none. Whatever else does not fit is
    an error as before, as is another number of classes where the network is part of a larger module: a training cannot
    go on with a classifier that it did not train.

    Args:
        model: A network of timm's, whose ``pretrained_cfg`` names its classifiers.

    Returns:
        What ends this by its ``remove()``.
    """
    return model.register_load_state_dict_pre_hook(_with_own_classifier)


def _with_own_classifier(model: nn.Module, state: dict[str, Tensor], prefix: str, *_) -> None:
    if prefix:
        return
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    own = model.state_dict()
    for name in (named,) if isinstance(named, str) else named:
        begin = f"{name}."
        given = {key: value for key, value in state.items() if key.startswith(begin)}
        kept = {key: value for key, value in own.items() if key.startswith(begin)}
        if given and not kept and getattr(model, "num_classes", None) == 0:
            for key in given:
                del state[key]
        elif given and given.keys() == kept.keys() and all(_other_classes(given[key], kept[key]) for key in given):
            classes, here = (len(next(iter(each.values()))) for each in (given, kept))
            what = f"the weights are of {classes} classes, the network has {here}"
            warnings.warn(f"{what}: its classifier {name!r} is not loaded and has its initial weights", stacklevel=2)
            state.update(kept)


def _other_classes(given: Tensor, own: Tensor) -> bool:
    return given.dim() == own.dim() > 0 and given.shape[1:] == own.shape[1:] and len(given) != len(own)
