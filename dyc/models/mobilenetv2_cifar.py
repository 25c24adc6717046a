"""MobileNetV2 for 32x32 images, static and with DY or DYC convolutions: the networks of the DYC report.

Jung, Dynamic Channel-wise Convolution, 2020. The static network is the widely used CIFAR form of MobileNetV2
(https://arxiv.org/abs/1801.04381): stem and second stage keep the resolution, every block expands, and stride-1
blocks whose width changes have a convolution in their shortcut. Dynamic are the depthwise convolutions of the last
four stages (11 of 17 blocks); with a hidden width of C//4 + 1 and no bias in fc1 this gives the report's Table 2:
2.30M, 3.58M and 8.01M parameters and 0.09, 0.09 and 0.10 GMACs for 10 classes.
"""

import torch
from timm.layers import DropPath, calculate_drop_path_rates, create_classifier
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.models.registration import Recipe, dynamic_builder, register
from ops import ArgumentError

STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of each stage."""


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (depthwise 3x3), project (1x1), add the shortcut when the resolution stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Step of the depthwise convolution in pixels.
        expansion: Width of the middle over ``in_channels``.
        drop_path: Probability that a sample skips the block (stochastic depth), where there is a shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, drop_path: float = 0.0):
        super().__init__()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        middle = in_channels * expansion
        self.conv_pw = nn.Conv2d(in_channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv_dw = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv_pwl = nn.Conv2d(middle, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.shortcut = (
                nn.Identity()
                if in_channels == out_channels
                else nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/stride, W/stride)``."""
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.act(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return y if self.shortcut is None else self.drop_path(y) + self.shortcut(x)


class MobileNetV2Cifar(nn.Module):
    """The CIFAR form of MobileNetV2, with the interface of a timm model.

    Args:
        num_classes: Outputs of the classifier; 0 removes it.
        in_chans: Channels of the images.
        stem_stride: Stride of the first convolution.
        stage2_stride: Stride of the second stage; 1 gives the report's 0.09 GMACs, 2 is in its author's file.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth of the last block, rising to it from 0.
        global_pool: Pooling before the classifier, as timm names it.
        device: Device of the weights.
        dtype: Type of the weights.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        stem_stride: int = 1,
        stage2_stride: int = 1,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, value in (("stem_stride", stem_stride), ("stage2_stride", stage2_stride)):
            if value not in (1, 2):
                raise ArgumentError(name, value, "1 or 2")
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.grad_checkpointing = False
        self.conv_stem = nn.Conv2d(in_chans, 32, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.act = nn.ReLU(inplace=True)
        rates = iter(calculate_drop_path_rates(drop_path_rate, sum(blocks for _, _, blocks, _ in STAGES)))
        stages, infos = [], []
        channels, reduction = 32, stem_stride
        for index, (expansion, width, blocks, stride) in enumerate(STAGES):
            stride = stage2_stride if index == 1 else stride
            first = InvertedResidual(channels, width, stride, expansion, next(rates))
            rest = [InvertedResidual(width, width, 1, expansion, next(rates)) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *rest))
            channels, reduction = width, reduction * stride
            infos.append({"num_chs": channels, "reduction": reduction, "module": f"blocks.{index}"})
        self.blocks = nn.Sequential(*stages)
        # One feature level per resolution: the last stage that has it.
        last = {info["reduction"]: index for index, info in enumerate(infos)}
        self.stage_ends = list(last.values())
        self.feature_info = [infos[index] for index in self.stage_ends]
        self.num_features = 1280
        self.conv_head = nn.Conv2d(channels, self.num_features, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(self.num_features)
        self.global_pool, self.classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.to(device=device, dtype=dtype)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        """Return timm's patterns that group parameters by depth."""
        block = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem|^bn1", "blocks": [(block, None), (r"^conv_head|^bn2", (99999,))]}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """Return the classifier."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier, and the pooling if one is named."""
        self.num_classes = num_classes
        weight = next(self.parameters())
        pool_type = self.global_pool.pool_type if global_pool is None else global_pool
        self.global_pool, self.classifier = create_classifier(
            self.num_features, num_classes, pool_type=pool_type, device=weight.device, dtype=weight.dtype
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.global_pool.train(self.training)
        self.classifier.train(self.training)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the features of chosen levels (see ``feature_info``), with the final ones unless told otherwise.

        Args:
            x: Images, ``(B, in_chans, H, W)``.
            indices: The last n levels if an int, all if None, else these.
            norm: Kept for timm's interface; the levels have no norm of their own.
            stop_early: Skip what no chosen level needs.
            output_fmt: ``"NCHW"``.
            intermediates_only: Leave out the final features.
        """
        if output_fmt != "NCHW":
            raise ArgumentError("output_fmt", repr(output_fmt), "'NCHW'")
        levels, deepest = feature_take_indices(len(self.stage_ends), indices)
        wanted = {self.stage_ends[level] for level in levels}
        x = self.act(self.bn1(self.conv_stem(x)))
        found = []
        for index, stage in enumerate(self.blocks):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing and self.training else stage(x)
            if index in wanted:
                found.append(x)
            if stop_early and index == self.stage_ends[deepest]:
                break
        if intermediates_only:
            return found
        return self._head_features(x) if index == len(STAGES) - 1 else x, found

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the chosen levels do not need; returns their indices."""
        levels, deepest = feature_take_indices(len(self.stage_ends), indices)
        self.blocks = self.blocks[: self.stage_ends[deepest] + 1]
        if prune_norm or prune_head or len(self.blocks) < len(STAGES):
            self.conv_head, self.bn2 = nn.Identity(), nn.Identity()
            self.num_features = self.feature_info[deepest]["num_chs"]
            self.reset_classifier(0, "")
        return levels

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``(B, in_chans, H, W)`` to the features before pooling, ``(B, 1280, H/8, W/8)``."""
        x = self.act(self.bn1(self.conv_stem(x)))
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq(self.blocks, x, flatten=True)
        else:
            x = self.blocks(x)
        return self._head_features(x)

    def _head_features(self, x: Tensor) -> Tensor:
        return x if isinstance(self.conv_head, nn.Identity) else self.act(self.bn2(self.conv_head(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify; ``pre_logits=True`` stops before the classifier."""
        x = self.global_pool(x)
        if self.drop_rate > 0.0:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, in_chans, H, W)``."""
        return self.forward_head(self.forward_features(x))


WHERE = r"^blocks\.[3-6]\..*conv_dw$"
DY = Recipe("dy", WHERE, r"^conv_head$")
DYC = Recipe("dyc", WHERE, r"^conv_head$")

VARIANTS = {
    "mobilenetv2_cifar": (MobileNetV2Cifar, "Static MobileNetV2 for 32x32 images."),
    "dy_mobilenetv2_cifar": (dynamic_builder(MobileNetV2Cifar, DY), "The report's DY-MobileNetV2."),
    "dyc_mobilenetv2_cifar": (dynamic_builder(MobileNetV2Cifar, DYC), "The report's DYC-MobileNetV2."),
}

default_cfgs = {
    name: {
        "url": "",
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": (4, 4),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }
    for name in VARIANTS
}

for _name, (_build, _doc) in VARIANTS.items():
    register(__name__, _name, _build, _doc, out_indices=(0, 1, 2, 3), feature_cls="list")
