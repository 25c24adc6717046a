"""How a network's dynamic form follows from its static form."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from dyc.conversion.convert import Where, make_dynamic
from dyc.dynamic_model import iter_operators, set_backend_where_it_fits
from dyc.models.arguments import Argument, offers, parameters
from dyc.models.registration import Builder, made_from, static_builder
from ops import ArgumentError


@dataclass(frozen=True)
class Recipe:
    """How a static network becomes dynamic by default; users override each part as a model argument.

    Args:
        attention: Kind of attention.
        where: Layers that become dynamic.
        head: Expression for the network's last convolution, which ``dynamic_head=True`` adds; empty if there is none.
        attention_kwargs: Arguments of the attention kind.
        shortcut: Expression for the convolutions of the shortcuts, which ``dynamic_shortcut=True`` adds.
    """

    attention: str
    where: Where
    head: str = ""
    attention_kwargs: dict = field(default_factory=dict)
    shortcut: str = ""

    def arguments(self) -> dict[str, Argument]:
        """Return the arguments of a network that is made dynamic so, with the recipe's own values as defaults."""
        own = {"attention": self.attention, "where": self.where, "attention_kwargs": self.attention_kwargs}
        found = parameters(Recipe.apply, **own)
        switches = {"dynamic_head": self.head, "dynamic_shortcut": self.shortcut}
        return {name: each for name, each in found.items() if switches.get(name, True)}

    def apply(
        self,
        model: nn.Module,
        *,
        where: Where | None = None,
        dynamic_head: bool = False,
        dynamic_shortcut: bool = False,
        attention: str | None = None,
        attention_kwargs: dict | None = None,
        num_kernels: int = 4,
        temperature: float = 30.0,
        init: str = "independent",
        backend: str = "auto",
    ) -> nn.Module:
        """Make ``model`` dynamic in place with these arguments, those left out being the recipe's."""
        where = self.where if where is None else where
        # Another kind takes other arguments than the recipe's.
        kwargs = self.attention_kwargs if attention in (None, self.attention) else {}
        options = {
            "num_kernels": num_kernels,
            "temperature": temperature,
            "init": init,
            "attention_kwargs": {**kwargs, **(attention_kwargs or {})},
        }
        attention = attention or self.attention
        make_dynamic(model, attention, where=where, **options)
        switches = {"dynamic_head": (dynamic_head, self.head), "dynamic_shortcut": (dynamic_shortcut, self.shortcut)}
        for switch, (wanted, layers) in switches.items():
            if wanted and not layers:
                raise ArgumentError(switch, sentence="cannot be True, as the network has no such convolution")
            if wanted and any(name for name, conv in static_convs(model) if re.search(layers, name)):
                make_dynamic(model, attention, where=layers, **options)
        set_backend_where_it_fits(list(iter_operators(model)), backend)  # of all together: it need not fit each part
        return model


def static_convs(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the name and layer of every convolution that is not dynamic."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            yield name, module


DYNAMIC_OPTIONS = tuple(Recipe.apply.__kwdefaults__)


def dynamic(static: Builder | str, recipe: Recipe) -> Builder:
    """Return a function that builds a static network and makes it dynamic, splitting the arguments between both.

    Args:
        static: What builds the static network, or its name in timm.
        recipe: What becomes dynamic unless the user says otherwise.
    """
    build_static = static_builder(static)

    @offers(recipe.arguments(), static)
    def build(**kwargs) -> nn.Module:
        options = {name: kwargs.pop(name) for name in DYNAMIC_OPTIONS if name in kwargs}
        return recipe.apply(build_static(**kwargs), **options)

    return made_from(static, build)
