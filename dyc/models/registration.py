"""Register a static network, or a network made dynamic, with timm: the one mechanism behind every family."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import timm
from timm.models import build_model_with_cfg, register_model
from torch import nn

from dyc.convert import Where, make_dynamic


@dataclass(frozen=True)
class Recipe:
    """How a static network becomes dynamic by default; users override each part as a model argument.

    Args:
        attention: Kind of attention.
        where: Layers that become dynamic.
        head: Name of the network's last convolution, which ``dynamic_head=True`` adds; empty if there is none.
        attention_kwargs: Arguments of the attention kind.
    """

    attention: str
    where: Where
    head: str = ""
    attention_kwargs: dict = field(default_factory=dict)

    def apply(
        self,
        model: nn.Module,
        *,
        where: Where | None = None,
        dynamic_head: bool = False,
        attention: str | None = None,
        attention_kwargs: dict | None = None,
        num_kernels: int = 4,
        temperature: float = 30.0,
        init: str = "independent",
        backend: str = "auto",
    ) -> nn.Module:
        """Make ``model`` dynamic in place with these arguments, those left out being the recipe's."""
        where = self.where if where is None else where
        options = {
            "num_kernels": num_kernels,
            "temperature": temperature,
            "init": init,
            "backend": backend,
            "attention_kwargs": {**self.attention_kwargs, **(attention_kwargs or {})},
        }
        attention = attention or self.attention
        make_dynamic(model, attention, where=where, **options)
        if dynamic_head and isinstance(model.get_submodule(self.head), nn.Conv2d):
            make_dynamic(model, attention, where=lambda name, conv: name == self.head, **options)
        return model


DYNAMIC_OPTIONS = tuple(Recipe.apply.__kwdefaults__)


def dynamic_builder(static: Callable[..., nn.Module], recipe: Recipe) -> Callable[..., nn.Module]:
    """Return a function that builds a static network and makes it dynamic, splitting the arguments between both."""

    def build(**kwargs) -> nn.Module:
        options = {name: kwargs.pop(name) for name in DYNAMIC_OPTIONS if name in kwargs}
        return recipe.apply(static(**kwargs), **options)

    return build


def timm_builder(name: str) -> Callable[..., nn.Module]:
    """Return a function that builds timm's model ``name``."""
    return lambda **kwargs: timm.create_model(name, **kwargs)


def register(module: str, name: str, build: Callable[..., nn.Module], doc: str, out_indices: tuple[int, ...]) -> None:
    """Register ``name`` with timm as if ``module`` defined a function of that name.

    Args:
        module: ``__name__`` of the family's module, which holds ``default_cfgs``.
        name: Model name.
        build: Called with the model arguments; returns the network.
        doc: Docstring of the entry point.
        out_indices: Feature levels of ``features_only=True``.
    """

    def entry(pretrained: bool = False, **kwargs) -> nn.Module:
        feature_cfg = {"out_indices": out_indices, "feature_cls": "getter", "flatten_sequential": True}
        return build_model_with_cfg(build, name, pretrained, feature_cfg=feature_cfg, **kwargs)

    entry.__name__ = entry.__qualname__ = name
    entry.__module__, entry.__doc__ = module, doc
    setattr(sys.modules[module], name, register_model(entry))
