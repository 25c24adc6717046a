"""Where a segmentation network comes from: a timm backbone, what is made of it, and a head."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from dyc.segmentation import HEADS, create_segmentation
from dyc.segmentation.backbone import whole
from lightning_modules.conversion_settings import convert
from lightning_modules.create_network import build_network
from lightning_modules.network_source import NetworkSource
from ops import ArgumentError, positive_int, unknown_name


class SegmentationSource(NetworkSource):
    """What a segmentation network is built from, once the number of classes is known.

    Args:
        network: Arguments of :class:`~lightning_modules.network_source.NetworkSource`, of the backbone.
        head: As for :class:`~lightning_modules.SemanticSegmenter`; so are the others.
        output_stride: Likewise.
        auxiliary: Likewise.
    """

    def __init__(self, *network: Any, head: str, output_stride: int, auxiliary: bool):
        super().__init__(*network, net=None)
        if head not in HEADS:
            raise unknown_name("model.head", head, HEADS)
        for name in {"head", "output_stride", "auxiliary"} & self.model_kwargs.keys():
            got, need = repr(self.model_kwargs[name]), f"the option model.{name}, which sets it for the whole network"
            raise ArgumentError(f"model.model_kwargs.{name}", got, need)
        self.own_settings = {
            "head": head,
            "output_stride": positive_int("model.output_stride", output_stride),
            "auxiliary": auxiliary,
        }

    def hparams(self) -> dict[str, Any]:
        """Return the arguments as a checkpoint keeps them."""
        return {**super().hparams(), **self.own_settings}

    def build(self, num_classes: int, in_chans: int) -> nn.Module:
        """Return the network; its backbone alone is made dynamic or selective, its layers named as in a classifier."""
        create = partial(create_segmentation, **self.own_settings)
        net = build_network(self.name, self.model_kwargs, num_classes, in_chans, self.pretrained, create)
        convert(whole(net.backbone), self.conversions)
        return net

    def check_trained(self, hparams: Mapping[str, Any]) -> None:
        """Raise ArgumentError unless the same is made of the network as of a checkpoint's."""
        super().check_trained(hparams)
        for name, value in self.own_settings.items():
            if hparams[name] != value:
                raise ArgumentError(f"model.{name}", value, f"{hparams[name]}, as in the checkpoint")
