"""What networks with pre-activation have in common: a convolution as stem, and BatchNorm and ReLU as head."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dyc.models.base import StagedNetwork, stage_reductions
from ops import ArgumentError


class PreActivationNetwork(StagedNetwork):
    """Convolution, stages that begin with average pooling, BatchNorm, ReLU, pooling and classifier.

    Every norm feeds one ReLU and every ReLU one convolution, all modules of their own: what
    :func:`dyc.make_selective` looks for.

    Args:
        stages: The blocks, one sequence per stage; all but the first stage halve the resolution.
        channels: Channels after each stage.
        stem_channels: Channels of the stem.
        stem_size: Side of the stem's kernel, an odd number.
        stem_stride: Stride of the stem, 1 or 2.
        stem_pool: Whether the stem ends with max pooling, 3x3 of stride 2.
        num_classes: Outputs of the classifier; 0 removes it.
        in_chans: Channels of the images.
        drop_rate: Dropout before the classifier.
        global_pool: Pooling before the classifier, as timm names it.
        device: Device of the weights.
        dtype: Type of the weights.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        stages: Sequence[nn.Sequential],
        channels: Sequence[int],
        *,
        stem_channels: int,
        stem_size: int = 3,
        stem_stride: int = 1,
        stem_pool: bool = False,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(num_classes, in_chans, drop_rate)
        if stem_stride not in (1, 2):
            raise ArgumentError("stem_stride", stem_stride, "1 or 2")
        place = {"device": device, "dtype": dtype}
        self.conv_stem = nn.Conv2d(in_chans, stem_channels, stem_size, stem_stride, stem_size // 2, bias=False, **place)
        self.pool_stem = nn.MaxPool2d(3, 2, 1) if stem_pool else nn.Identity()
        strides = [2 if stem_pool else 1, *[2] * (len(stages) - 1)]
        self.add_stages(stages, channels, stage_reductions(strides, stem_stride))
        self.norm_head = nn.BatchNorm2d(channels[-1], **place)
        self.act_head = nn.ReLU(inplace=True)
        self.add_classifier(channels[-1], global_pool, **place)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        """Return timm's patterns that group parameters by depth."""
        block = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem", "blocks": [(block, None), (r"^norm_head", (99999,))]}

    def _stem(self, x: Tensor) -> Tensor:
        return self.pool_stem(self.conv_stem(x))

    def _head_features(self, x: Tensor) -> Tensor:
        return self.act_head(self.norm_head(x))

    def _remove_head(self) -> None:
        self.norm_head, self.act_head = nn.Identity(), nn.Identity()
