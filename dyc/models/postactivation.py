"""What networks with post-activation have in common: convolution, BatchNorm and activation as stem and as head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dyc.models.base import StagedNetwork


class PostActivationNetwork(StagedNetwork):
    """Stem (3x3 convolution), stages, head (1x1 convolution), pooling and classifier; norms follow convolutions.

    Args:
        stages: The blocks, one sequence per stage.
        channels: Channels after each stage.
        reductions: Pixels of the image per pixel after each stage, along one side.
        stem_channels: Channels of the stem.
        stem_stride: Stride of the stem.
        head_channels: Channels of the head.
        act: Class of the activations of stem and head.
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
        reductions: Sequence[int],
        *,
        stem_channels: int = 32,
        stem_stride: int = 2,
        head_channels: int = 1280,
        act: type[nn.Module] = nn.ReLU,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(num_classes, in_chans, drop_rate)
        self.conv_stem = nn.Conv2d(in_chans, stem_channels, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.act = act(inplace=True)
        self.add_stages(stages, channels, reductions)
        self.conv_head = nn.Conv2d(channels[-1], head_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(head_channels)
        self.add_classifier(head_channels, global_pool)
        self.to(device=device, dtype=dtype)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        """Return timm's patterns that group parameters by depth."""
        block = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem|^bn1", "blocks": [(block, None), (r"^conv_head|^bn2", (99999,))]}

    def _stem(self, x: Tensor) -> Tensor:
        return self.act(self.bn1(self.conv_stem(x)))

    def _head_features(self, x: Tensor) -> Tensor:
        return x if isinstance(self.conv_head, nn.Identity) else self.act(self.bn2(self.conv_head(x)))

    def _remove_head(self) -> None:
        self.conv_head, self.bn2 = nn.Identity(), nn.Identity()
