"""The network ``dyc_converted``: any of timm's, and what was made of it, by a description that ``config.json`` holds.

:func:`dyc.export.weights.save_weights` writes the description, and ``timm.create_model("local-dir:FOLDER")`` builds the
network by it once ``dyc`` is imported.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.models import build_model_with_cfg, register_model
from timm.models._features import FeatureGetterNet, FeatureHookNet
from torch import Tensor, nn

from dyc.conversion.convert import make_dynamic
from dyc.models.feature_weights import named_tensors, take_whole_weights
from dyc.selective.checkpoints import checkpoint_filter_fn
from dyc.selective.compact_again import compact_as
from dyc.selective.convert import make_selective
from ops import ArgumentError, unknown_name

NAME = "dyc_converted"

FORMAT = 1
"""Version of the description; a later one has conversions or settings that this package does not know."""


def _dynamic(model: nn.Module, layers: list[str], **settings: Any) -> None:
    # Of the kernels nothing is to be kept: the weights are loaded.
    make_dynamic(model, where=_among(layers), init="independent", **settings)


def _selective(
    model: nn.Module, layers: list[str], reallocate: list[str], drop_rate: float, input_size: list[int] | None
) -> None:
    size = None if input_size is None else tuple(input_size)
    reused = _among(reallocate) if reallocate else False
    make_selective(model, where=_among(layers), reallocate=reused, drop_rate=drop_rate, input_size=size)


def _among(names: list[str]) -> Callable[[str, nn.Module], bool]:
    chosen = frozenset(names)
    return lambda name, conv: name in chosen


_CONVERSIONS: dict[str, Callable[..., Any]] = {"dynamic": _dynamic, "selective": _selective, "compact": compact_as}
"""What does a conversion again, by the name that :mod:`dyc.conversion.history` notes it by."""


@register_model
def dyc_converted(
    pretrained: bool = False,
    base: str | None = None,
    conversions: Mapping[str, Any] | None = None,
    features_only: bool = False,
    out_indices: int | tuple[int, ...] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Any of timm's networks, and what was made of it; to be created from a folder, ``local-dir:FOLDER``.

    Args:
        pretrained: Load the weights of the folder.
        base: Name of the network that was converted.
        conversions: ``{"format": 1, "steps": [...]}``: each step has its ``kind`` and settings.
        features_only: Return the features of all levels, or of those of ``out_indices``, instead of logits.
        out_indices: As timm's.
        kwargs: Arguments of the network.

    Raises:
        ArgumentError: There is no description, or it is of a newer version of this package.
    """
    if not isinstance(base, str):
        need = "the name of a network, as config.json has it: create this one by timm.create_model('local-dir:FOLDER')"
        raise ArgumentError("base", base, need)
    _known_steps(conversions)

    def build(**options: Any) -> nn.Module:
        return convert_again(timm.create_model(base, **options), conversions)

    model = build_model_with_cfg(build, NAME, pretrained, pretrained_filter_fn=fitting, **kwargs)
    return _features(model, out_indices) if features_only else model


def description_of(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the description of conversions, as :func:`dyc.conversion.history.kept_conversions` returns them."""
    return {"format": FORMAT, "steps": steps}


def convert_again(model: nn.Module, conversions: Mapping[str, Any] | None) -> nn.Module:
    """Do the conversions of a description, in place, and return the model; its weights are to be loaded then.

    Raises:
        ArgumentError: The description is of a newer version of this package.
    """
    for step in [] if conversions is None else _known_steps(conversions):
        settings = {name: value for name, value in step.items() if name != "kind"}
        _CONVERSIONS[step["kind"]](model, **settings)
    return model


def _known_steps(conversions: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the steps of a description that this version of the package can do."""
    found = conversions.get("format") if isinstance(conversions, Mapping) else None
    if not isinstance(found, int) or not isinstance(conversions.get("steps"), list):
        raise ArgumentError("conversions", reprlib.repr(conversions), "a description, as config.json has it")
    if found > FORMAT:
        need = f"{FORMAT} or lower, which this version of dyc reads: install a newer one"
        raise ArgumentError("conversions", f"a description of format {found}", need)
    for step in conversions["steps"]:
        if step.get("kind") not in _CONVERSIONS:
            raise unknown_name("conversions", step.get("kind"), _CONVERSIONS)
    return conversions["steps"]


def fitting(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return weights for a network; refuse what timm would fail on without saying why."""
    own = model.state_dict()
    first = (model.pretrained_cfg or {}).get("first_conv")
    for name in (first,) if isinstance(first, str) else first or ():
        key = f"{name}.weight"
        if key in state and key in own and own[key].dim() == 5 and own[key].shape[2] != state[key].shape[-3]:
            sentence = f"must be {state[key].shape[-3]}, as {name} is dynamic and its attention was trained on as many"
            raise ArgumentError("in_chans", sentence=sentence)
    return checkpoint_filter_fn(state, model)


def _features(model: nn.Module, out_indices: int | tuple[int, ...] | None) -> nn.Module:
    """Return the features of a network, as timm's ``features_only`` does."""
    levels = tuple(range(len(model.feature_info))) if out_indices is None else out_indices
    cls = FeatureGetterNet if hasattr(model, "forward_intermediates") else FeatureHookNet
    left = ("num_classes", "classifier")  # features have none
    description = {key: value for key, value in model.pretrained_cfg.items() if key not in left}
    whole = named_tensors(model)
    wrapped = cls(model, out_indices=levels)
    take_whole_weights(wrapped, whole)
    wrapped.pretrained_cfg = wrapped.default_cfg = description
    return wrapped
