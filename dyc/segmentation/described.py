"""The network ``dyc_segmentation``: one that classifies every pixel, by a description that ``config.json`` holds.

:func:`dyc.export.weights.save_weights` writes the description, and ``timm.create_model("local-dir:FOLDER")`` builds the
network by it once ``dyc`` is imported.
"""

from collections.abc import Mapping
from typing import Any

from timm.models import build_model_with_cfg, get_model_args, register_model
from timm.models._features import FeatureGetterNet
from torch import nn

from dyc.conversion.history import kept_conversions
from dyc.converted import convert_again, description_of, fitting
from dyc.segmentation.backbone import whole
from dyc.segmentation.network import ARCHITECTURE, HEADS, SegmentationNetwork, create_segmentation
from ops import ArgumentError

SETTLED = ("num_classes", "output_stride", "features_only", "out_indices")
"""Arguments that :func:`dyc.segmentation.create_backbone` gives a backbone itself."""

LAST = ("classifier.4", "aux_classifier.4")
"""The last layer of each head, whose outputs are the classes."""


@register_model
def dyc_segmentation(
    pretrained: bool = False,
    backbone: str | None = None,
    backbone_args: Mapping[str, Any] | None = None,
    backbone_conversions: Mapping[str, Any] | None = None,
    conversions: Mapping[str, Any] | None = None,
    head: str = "fcn",
    output_stride: int = 8,
    auxiliary: bool = False,
    preparation: Mapping[str, Any] | None = None,
    features_only: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """A network that classifies every pixel; to be created from a folder, ``local-dir:FOLDER``.

    Args:
        pretrained: Load the weights of the folder.
        backbone: Name of the backbone.
        backbone_args: Its arguments.
        backbone_conversions: What was made of it, as for ``dyc_converted``.
        conversions: What was made of the whole network then.
        head: As for :func:`dyc.segmentation.create_segmentation`; so are the next two.
        output_stride: Likewise.
        auxiliary: Likewise.
        preparation: What is known of its images beside timm's description, kept as the attribute of that name.
        features_only: Refused: it is no backbone.
        kwargs: ``num_classes`` and ``in_chans``.

    Raises:
        ArgumentError: There is no description, or it is of a newer version of this package.
    """
    if not isinstance(backbone, str):
        need = "the name of a network, as config.json has it: create this one by timm.create_model('local-dir:FOLDER')"
        raise ArgumentError("backbone", backbone, need)
    if features_only or not kwargs.get("num_classes", 1):
        raise ArgumentError("model", sentence="a network that classifies every pixel is no backbone of another")

    def build(num_classes: int, **options: Any) -> nn.Module:
        arguments = {**(backbone_args or {}), **options}
        own = {"head": head, "output_stride": output_stride, "auxiliary": auxiliary}
        network = create_segmentation(backbone, num_classes, **own, **arguments)
        convert_again(whole(network.backbone), backbone_conversions)
        return convert_again(network, conversions)

    network = build_model_with_cfg(build, ARCHITECTURE, pretrained, pretrained_filter_fn=fitting, **kwargs)
    network.preparation = dict(preparation or {})
    return network


def arguments_of(network: SegmentationNetwork) -> dict[str, Any]:
    """Return the arguments of ``dyc_segmentation`` that build a network again.

    Raises:
        ArgumentError: Nothing can build its backbone by name, or something was made of it that no file can hold.
    """
    backbone = whole(network.backbone)
    name = (getattr(backbone, "pretrained_cfg", None) or {}).get("architecture")
    if not name:
        got = f"a network on a {type(backbone).__name__} that no name stands for"
        raise ArgumentError("model", got, "one of dyc.segmentation.create_segmentation")
    noted = getattr(backbone, "_model_args", {})
    arguments = {
        argument: value
        for argument, value in get_model_args(backbone).items()
        if argument not in SETTLED and (argument != "global_pool" or argument in noted)
    }
    found = {
        "backbone": name,
        "backbone_args": arguments,
        "head": next(head for head, made in HEADS.items() if type(network.classifier) is made),
        "output_stride": network.backbone.feature_info.reduction()[-1],
        "auxiliary": network.aux_classifier is not None,
        "num_classes": network.num_classes,
    }
    for key, model in (("backbone_conversions", backbone), ("conversions", network)):
        if steps := kept_conversions(model):
            found[key] = description_of(steps)
    return found


def first_conv_of(network: SegmentationNetwork) -> str | None:
    """Return the name of the convolution that reads the images, where timm knows it."""
    if not isinstance(network.backbone, FeatureGetterNet):
        return None
    name = (network.backbone.model.pretrained_cfg or {}).get("first_conv")
    return f"backbone.model.{name}" if isinstance(name, str) else None
