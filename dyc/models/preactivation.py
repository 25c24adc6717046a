"""What networks with pre-activation have in common: a convolution as stem, and BatchNorm and ReLU as head."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dyc.models.staged import Staged, stage_reductions
from ops import ArgumentError

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)


class PreActivationNetwork(Staged):
    """Convolution, stages that begin with average pooling, BatchNorm, ReLU, pooling and classifier.

    Every norm feeds one ReLU and every ReLU one convolution, all modules of their own: what
    :func:`dyc.make_selective` looks for.

    Args:
        conv_stem: The stem.
        stages: The blocks, one sequence per stage; all but the first stage halve the resolution.
        channels: Channels after each stage.
        stem_reduction: Pixels of the image per pixel of what the first stage gets, along one side.
        pool_stem: Pooling after the stem.
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
        conv_stem: nn.Conv2d,
        stages: Sequence[nn.Sequential],
        channels: Sequence[int],
        stem_reduction: int,
        *,
        pool_stem: nn.Module | None = None,
        num_classes: int = 10,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(num_classes, conv_stem.in_channels, drop_rate)
        self.conv_stem = conv_stem
        self.pool_stem = nn.Identity() if pool_stem is None else pool_stem
        self.add_stages(stages, channels, stage_reductions([1, *[2] * (len(stages) - 1)], stem_reduction))
        self.norm_head = nn.BatchNorm2d(channels[-1], device=device, dtype=dtype)
        self.act_head = nn.ReLU(inplace=True)
        self.add_classifier(channels[-1], global_pool, device=device, dtype=dtype)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))
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


def small_stem(in_chans: int, channels: int, stride: int, **kwargs) -> nn.Conv2d:
    """Return the 3x3 stem for small images, of stride 1 or 2; ``kwargs`` are its ``device`` and ``dtype``."""
    if stride not in (1, 2):
        raise ArgumentError("stem_stride", stride, "1 or 2")
    return nn.Conv2d(in_chans, channels, 3, stride, 1, bias=False, **kwargs)


def cifar10_cfg() -> dict:
    """Return timm's description of a network for CIFAR-10 that has no weights to load."""
    return {
        "url": "",
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": (8, 8),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": CIFAR10_MEAN,
        "std": CIFAR10_STD,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }
