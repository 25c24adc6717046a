"""Register a family's networks with timm: the one mechanism behind every family."""

import sys
from collections.abc import Callable, Mapping

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, get_arch_pretrained_cfgs, register_model
from torch import nn

from dyc.models.arguments import Argument, offers
from dyc.models.dilation import with_output_stride
from dyc.models.feature_weights import named_tensors, take_whole_weights
from dyc.models.own_classifier import keep_own_classifier
from dyc.selective.checkpoints import checkpoint_filter_fn

Builder = Callable[..., nn.Module]
"""Called with a network's arguments; returns the network."""

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)


def timm_builder(name: str, **defaults) -> Builder:
    """Return a function that builds timm's model ``name``, with ``defaults`` where the caller says nothing."""

    @offers({key: Argument(key, type(value).__name__, value) for key, value in defaults.items()}, name)
    def build(**kwargs) -> nn.Module:
        return timm.create_model(name, **{**defaults, **kwargs})

    return build


def static_builder(static: Builder | str) -> Builder:
    """Return ``static`` itself, or a function that builds timm's model of that name."""
    return timm_builder(static) if isinstance(static, str) else static


def made_from(static: Builder | str, build: Builder) -> Builder:
    """Let ``build``, which converts a static network, say which of timm's it is, if it is one, and return it."""
    build.timm_name = static if isinstance(static, str) else getattr(static, "timm_name", None)
    return build


def with_static_weights(name: str, static: str, own: dict) -> Mapping:
    """Return timm's descriptions of network ``name``, by tag, with the weights that timm has of its static form.

    Args:
        name: The network.
        static: The name of its static form in timm.
        own: Its description without weights. It stays the one that is meant without a tag if timm has no weights, or
            if theirs are for another number of classes.
    """
    found = {cfg.tag: cfg for cfg in get_arch_pretrained_cfgs(static).values() if cfg.has_weights}
    cfgs = {f"{name}.{tag}": cfg for tag, cfg in found.items()}
    if not found or next(iter(found.values())).num_classes != own["num_classes"]:
        cfgs[f"{name}.*"] = own  # the star makes it the default
    return generate_default_cfgs(cfgs)[name]


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
    variants: Mapping[str, tuple[Builder, str]],
    *,
    out_indices: tuple[int, ...],
    feature_cls: str = "getter",
    flatten_sequential: bool = True,
) -> None:
    """Register networks with timm as if ``module`` defined a function of each one's name.

    A network that is made from one of timm's has its tags: with ``pretrained=True`` it begins with those weights.

    Args:
        module: ``__name__`` of the family's module, whose ``default_cfgs`` describe the networks.
        variants: By model name, what builds the network and the docstring of its entry point.
        out_indices: Feature levels of ``features_only=True``.
        feature_cls: timm's wrapper for ``features_only=True``. ``"list"``, for networks that call their children in
            order, checkpoints activations too; ``"getter"`` needs ``forward_intermediates`` alone.
        flatten_sequential: Levels are members of an ``nn.Sequential``, as in ``feature_info`` of ``blocks.2``; False
            where they are attributes of the network.
    """
    feature_cfg = {"out_indices": out_indices, "feature_cls": feature_cls, "flatten_sequential": flatten_sequential}
    family = sys.modules[module]
    for name, (build, doc) in variants.items():
        static = getattr(build, "timm_name", None)
        if static is not None:
            family.default_cfgs[name] = with_static_weights(name, static, family.default_cfgs[name])
        entry = _entry_point(name, build, feature_cfg)
        entry.__name__ = entry.__qualname__ = name
        entry.__module__, entry.__doc__ = module, doc
        setattr(family, name, register_model(entry))


def _entry_point(name: str, build: Builder, feature_cfg: dict) -> Builder:
    build = with_output_stride(build)

    def entry(pretrained: bool = False, **kwargs) -> nn.Module:
        whole = {}

        def built(**options) -> nn.Module:
            model = build(**options)
            whole.update(named_tensors(model))
            return model

        model = build_model_with_cfg(
            built, name, pretrained, feature_cfg=dict(feature_cfg), pretrained_filter_fn=checkpoint_filter_fn, **kwargs
        )
        if kwargs.get("features_only"):
            take_whole_weights(model, whole)
        else:
            keep_own_classifier(model)
        return model

    entry.builder = build  # which knows what arguments there are
    return entry


def model_names() -> list[str]:
    """Return the names of this package's networks as ``timm.list_models`` sorts them."""
    return [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("dyc.models.")]
