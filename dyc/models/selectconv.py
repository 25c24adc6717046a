"""How a network's form with selective allocation of channels follows from its static form.

SelectConv, Jeong and Shin, ICML 2019, http://proceedings.mlr.press/v97/jeong19c.html
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from dyc.conversion.where import Where
from dyc.selective import iter_selective, make_selective


@dataclass(frozen=True)
class Selection:
    """Which convolutions of a static network become selective; users override each part as a model argument.

    Args:
        where: The convolutions; None for all but the stem, each of which must then fit.
        reallocate: Those of them that re-use closed channels; ``"pointwise"`` for the 1x1 convolutions.
    """

    where: Where | None = None
    reallocate: bool | Where = "pointwise"


def selective_builder(static: Callable[..., nn.Module], selection: Selection) -> Callable[..., nn.Module]:
    """Return a function that builds a static network and makes it selective, splitting the arguments between both.

    Nothing is drawn at random in between, so that the same seed gives both forms the same weights.
    """
    own = vars(selection)

    def build(**kwargs) -> nn.Module:
        options = {name: kwargs.pop(name, usual) for name, usual in own.items()}
        return make_selective(static(**kwargs), unsupported="raise", **options)

    return build


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a static network as that of its selective form, in which norms have moved into the layers.

    timm calls it where it loads weights into a registered network; for ``timm.models.load_checkpoint`` it is the
    argument ``filter_fn``. Masks, pointers and shifts, which no static network has, keep what ``model`` has.

    Args:
        state_dict: State of either form; that of the selective one is returned as it is.
        model: The network that it is for; one without selective layers takes everything as it is.
    """
    places, own = {}, set()
    for name, layer in iter_selective(model):
        for part, static in getattr(layer, "static_names", {}).items():
            places[static] = f"{name}.{part}"
        own |= {f"{name}.pointers", f"{name}.conv.mask", f"{name}.shift"}
    if not own or not own.isdisjoint(state_dict):
        return state_dict
    loaded = {key: value for key, value in model.state_dict().items() if key in own}
    for key, value in state_dict.items():
        module, _, tensor = key.rpartition(".")
        loaded[f"{places.get(module, module)}.{tensor}" if module else key] = value
    return loaded
