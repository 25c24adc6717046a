"""Networks that classify every pixel: a dilated backbone and a head of torchvision's."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from dyc.segmentation.backbone import create_backbone
from ops import unknown_name

ARCHITECTURE = "dyc_segmentation"
"""The name by which timm creates a network from a folder, see :mod:`dyc.segmentation.described`."""

HEADS: dict[str, Callable[[int, int], nn.Module]] = {"fcn": FCNHead, "deeplabv3": DeepLabHead}
"""By name, what makes a head of the channels of its input and the number of classes."""


class SegmentationNetwork(nn.Module):
    """A backbone, a head on its last map, perhaps an auxiliary head on the map before, and bilinear upsampling.

    With ``head="fcn"`` and an output stride of 8, the Dilated FCN of DyNet's Table 3.

    Args:
        backbone: A network from images to two maps, as :func:`dyc.segmentation.create_backbone` returns it.
        num_classes: Number of classes.
        head: ``"fcn"`` (https://arxiv.org/abs/1411.4038) or ``"deeplabv3"`` (https://arxiv.org/abs/1706.05587).
        auxiliary: Add a second FCN head, which is only trained with: it reads the map before the last one.

    Shape:
        ``(B, in_chans, H, W)`` to logits ``(B, num_classes, H, W)``; in training with an auxiliary head, to those and
        the logits of that head, a pair.

    Raises:
        ArgumentError: No such head.

    Example:
        >>> import torch
        >>> from dyc.segmentation import create_backbone
        >>> net = SegmentationNetwork(create_backbone("dyc_mobilenetv2_035", 16), num_classes=11)
        >>> net.eval()(torch.rand(1, 3, 48, 64)).shape
        torch.Size([1, 11, 48, 64])
    """

    def __init__(self, backbone: nn.Module, num_classes: int, head: str = "fcn", auxiliary: bool = False):
        super().__init__()
        if head not in HEADS:
            raise unknown_name("head", head, HEADS)
        before, last = backbone.feature_info.channels()[-2:]
        self.num_classes = num_classes
        self.pretrained_cfg: dict[str, Any] = {"architecture": ARCHITECTURE}  # what is made of it is noted by this name
        self.preparation: dict[str, Any] = {}  # of images: what timm's description has no place for
        self.feature_info = backbone.feature_info.info  # the strides by which callers check the size of images
        self.backbone = backbone
        self.classifier = HEADS[head](last, num_classes)
        self.aux_classifier = FCNHead(before, num_classes) if auxiliary else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Classify every pixel."""
        before, last = self.backbone(x)
        logits = _enlarged(self.classifier(last), x)
        if self.aux_classifier is None or not self.training:
            return logits
        return logits, _enlarged(self.aux_classifier(before), x)


def _enlarged(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)


def create_segmentation(
    name: str, num_classes: int, *, head: str = "fcn", output_stride: int = 8, auxiliary: bool = False, **kwargs
) -> SegmentationNetwork:
    """Create a network that classifies every pixel, with any timm backbone.

    Args:
        name: The backbone's name.
        num_classes: Number of classes.
        head: As :class:`SegmentationNetwork`, like ``auxiliary``.
        output_stride: As :func:`dyc.segmentation.create_backbone`.
        kwargs: What else ``timm.create_model`` takes, such as ``pretrained`` or ``in_chans``.

    Raises:
        ArgumentError: An argument cannot be used.

    Example:
        >>> import dyc
        >>> static, dynamic = (create_segmentation(name, 19) for name in ("resnet18", "dynet_resnet18"))
        >>> [round(dyc.profile(net, (3, 512, 1024)).macs / 1e9, 1) for net in (static, dynamic)]
        [101.1, 26.6]
    """
    return SegmentationNetwork(create_backbone(name, output_stride, **kwargs), num_classes, head, auxiliary)
