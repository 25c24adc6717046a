"""Register a static network, or a network made dynamic, with timm: the one mechanism behind every family."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model
from torch import nn

from dyc.conversion.convert import Where, make_dynamic
from dyc.models.selectconv import checkpoint_filter_fn
from ops import ArgumentError

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)


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
            "backend": backend,
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
        return model


def static_convs(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the name and layer of every convolution that is not dynamic."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            yield name, module


DYNAMIC_OPTIONS = tuple(Recipe.apply.__kwdefaults__)


def dynamic_builder(static: Callable[..., nn.Module], recipe: Recipe) -> Callable[..., nn.Module]:
    """Return a function that builds a static network and makes it dynamic, splitting the arguments between both."""

    def build(**kwargs) -> nn.Module:
        options = {name: kwargs.pop(name) for name in DYNAMIC_OPTIONS if name in kwargs}
        return recipe.apply(static(**kwargs), **options)

    return build


def timm_builder(name: str, **defaults) -> Callable[..., nn.Module]:
    """Return a function that builds timm's model ``name``, with ``defaults`` where the caller says nothing."""
    return lambda **kwargs: timm.create_model(name, **{**defaults, **kwargs})


def imagenet_cfg(first_conv: str, classifier: str) -> dict:
    """Return timm's description of a network for ImageNet at 224 px that has no weights to load."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": classifier,
    }


def cifar10_cfg(pool_size: tuple[int, int] = (8, 8), mean: tuple = CIFAR10_MEAN, std: tuple = CIFAR10_STD) -> dict:
    """Return timm's description of a network for CIFAR-10 at 32 px that has no weights to load."""
    small = {"num_classes": 10, "input_size": (3, 32, 32), "pool_size": pool_size, "mean": mean, "std": std}
    return imagenet_cfg("conv_stem", "classifier") | small | {"crop_pct": 1.0, "interpolation": "bilinear"}


def register(
    module: str,
    name: str,
    build: Callable[..., nn.Module],
    doc: str,
    out_indices: tuple[int, ...],
    feature_cls: str = "getter",
    flatten_sequential: bool = True,
) -> None:
    """Register ``name`` with timm as if ``module`` defined a function of that name.

    Args:
        module: ``__name__`` of the family's module, which holds ``default_cfgs``.
        name: Model name.
        build: Called with the model arguments; returns the network.
        doc: Docstring of the entry point.
        out_indices: Feature levels of ``features_only=True``.
        feature_cls: timm's wrapper for ``features_only=True``. ``"list"``, for networks that call their children in
            order, checkpoints activations too; ``"getter"`` needs ``forward_intermediates`` alone.
        flatten_sequential: Levels are members of an ``nn.Sequential``, as in ``feature_info`` of ``blocks.2``; False
            where they are attributes of the network.
    """

    def entry(pretrained: bool = False, **kwargs) -> nn.Module:
        feature_cfg = {
            "out_indices": out_indices,
            "feature_cls": feature_cls,
            "flatten_sequential": flatten_sequential,
        }
        return build_model_with_cfg(
            build, name, pretrained, feature_cfg=feature_cfg, pretrained_filter_fn=checkpoint_filter_fn, **kwargs
        )

    entry.__name__ = entry.__qualname__ = name
    entry.__module__, entry.__doc__ = module, doc
    setattr(sys.modules[module], name, register_model(entry))
