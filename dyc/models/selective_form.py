"""How a network's form with selective channels follows from its static form.

SelectConv, Jeong and Shin, ICML 2019, http://proceedings.mlr.press/v97/jeong19c.html
"""

from dataclasses import dataclass

from torch import nn

from dyc.conversion.where import Where
from dyc.models.arguments import offers, parameters
from dyc.models.registration import Builder, made_from, static_builder
from dyc.selective import make_selective


@dataclass(frozen=True)
class Selection:
    """Which convolutions of a static network become selective; users override each part as a model argument.

    Args:
        where: The convolutions; None for all but the stem, each of which must then fit.
        reallocate: Those of them that re-use closed channels; ``"pointwise"`` for the 1x1 convolutions.
    """

    where: Where | None = None
    reallocate: bool | Where = "pointwise"


def selective(static: Builder | str, selection: Selection) -> Builder:
    """Return a function that builds a static network and makes it selective, splitting the arguments between both.

    Nothing is drawn at random in between, so that the same seed gives both forms the same weights.

    Args:
        static: What builds the static network, or its name in timm.
        selection: What becomes selective unless the user says otherwise.
    """
    build_static, own = static_builder(static), vars(selection)

    @offers(parameters(Selection, **own), static)
    def build(**kwargs) -> nn.Module:
        options = {name: kwargs.pop(name, usual) for name, usual in own.items()}
        return make_selective(build_static(**kwargs), unsupported="raise", **options)

    return made_from(static, build)
