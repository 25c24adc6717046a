"""timm networks as backbones: maps of a given output stride."""

from pathlib import Path

import timm
from timm.models import load_checkpoint
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from dyc.models.dilation import dilate, with_output_stride
from dyc.weights_file import weights_file
from ops import ArgumentError

LEVELS = (-2, -1)
"""The levels of timm's features that are used: the last one, and the one before it for the auxiliary head."""


def create_backbone(
    name: str, output_stride: int = 8, *, checkpoint_path: str | Path | None = None, **kwargs
) -> nn.Module:
    """Return a network of timm's that maps images to its last two feature levels.

    Args:
        name: The network's name.
        output_stride: Pixels of the image per pixel of the last level, along one side. A network that does not take it
            itself is dilated by :func:`dyc.models.dilation.dilate`.
        checkpoint_path: File of a classifier's weights, with any number of classes, or folder as
            :func:`dyc.export.weights.save_weights` writes it; the classifier itself is left out.
        kwargs: What else ``timm.create_model`` takes, such as ``pretrained`` or ``in_chans``.

    Returns:
        A module from ``(B, in_chans, H, W)`` to two maps, with timm's ``feature_info``; see :func:`whole`.

    Raises:
        ArgumentError: The network has no feature levels, or none of that stride.

    Example:
        >>> import torch
        >>> backbone = create_backbone("dynet_resnet18", 8)
        >>> [tuple(level.shape) for level in backbone(torch.rand(1, 3, 64, 64))]
        [(1, 128, 8, 8), (1, 256, 8, 8)]
    """

    def build(**options) -> nn.Module:
        return timm.create_model(name, **kwargs, **options)

    try:
        net = with_output_stride(build)(output_stride=output_stride, num_classes=0)
    except AssertionError:  # a network that takes an output stride, but no other than its own
        net = dilate(build(num_classes=0), output_stride)
    if checkpoint_path:
        load_checkpoint(net, str(weights_file(checkpoint_path)), filter_fn=_without_classifier)
    if hasattr(net, "forward_intermediates") and len(getattr(net, "feature_info", ())) > 1:
        net = FeatureGetterNet(net, LEVELS)
    else:
        net, loaded = _with_features(name, build, output_stride), net
        if checkpoint_path:
            _copy_weights(loaded, net)
    found = net.feature_info.reduction()[-1]
    if found != output_stride:
        raise ArgumentError("output_stride", output_stride, f"{found}, the only one of {name}")
    return net


def _with_features(name: str, build, output_stride: int) -> nn.Module:
    """Return a network in timm's own form for features, which gives its layers other names."""
    try:
        return build(features_only=True, out_indices=LEVELS, output_stride=output_stride)
    except (TypeError, RuntimeError, AssertionError) as error:
        reason = f"{type(error).__name__}: {error}"
        sentence = f"{name} is no backbone, as timm makes no feature levels of it ({reason})"
        raise ArgumentError("model", sentence=sentence) from error


def _without_classifier(weights: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Return weights without those of the classifiers that timm names for a network, and that this one lacks."""
    named = net.pretrained_cfg.get("classifier") or ()
    begins = tuple(f"{each}." for each in ((named,) if isinstance(named, str) else named))
    own = net.state_dict()
    return {name: value for name, value in weights.items() if name in own or not name.startswith(begins)}


def _copy_weights(net: nn.Module, features: nn.Module) -> None:
    """Copy a network's weights into timm's own form of it, whose layers have other names: ``a_b`` for ``a.b``."""
    weights = {name.replace(".", "_"): value for name, value in net.state_dict().items()}
    own = features.state_dict()
    features.load_state_dict({name: weights[name.removeprefix("body.").replace(".", "_")] for name in own})


def whole(backbone: nn.Module) -> nn.Module:
    """Return the network inside a backbone, whose layers have the names that they have in a classifier."""
    return backbone.model if isinstance(backbone, FeatureGetterNet) else backbone
