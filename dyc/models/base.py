"""The parent of the networks written here: stem, stages, head, and the interface of timm's models, written once."""

from collections.abc import Sequence

import torch
from timm.layers import create_classifier
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn import functional as F

from ops import ArgumentError


class StagedNetwork(nn.Module):
    """Stem, stages of blocks, head, pooling and classifier.

    A network adds its layers before the stages, calls :meth:`add_stages`, adds those after the stages, calls
    :meth:`add_classifier`, and says how to run and to remove them in ``_stem``, ``_head_features`` and
    ``_remove_head``.

    Args:
        num_classes: Outputs of the classifier; 0 removes it.
        in_chans: Channels of the images.
        drop_rate: Dropout before the classifier.

    Shape:
        ``(B, in_chans, H, W)`` to ``(B, num_classes)``.
    """

    def __init__(self, num_classes: int, in_chans: int, drop_rate: float):
        super().__init__()
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.grad_checkpointing = False

    def add_stages(self, stages: Sequence[nn.Sequential], channels: Sequence[int], reductions: Sequence[int]) -> None:
        """Add the stages.

        Args:
            stages: The blocks, one sequence per stage.
            channels: Channels after each stage.
            reductions: Pixels of the image per pixel after each stage, along one side.
        """
        self.blocks = nn.Sequential(*stages)
        # One feature level per resolution: the last stage that has it.
        self.stage_ends = list({reduction: index for index, reduction in enumerate(reductions)}.values())
        self.feature_info = [
            {"num_chs": channels[index], "reduction": reductions[index], "module": f"blocks.{index}"}
            for index in self.stage_ends
        ]

    def add_classifier(self, num_features: int, global_pool: str, **kwargs) -> None:
        """Add pooling and classifier for ``num_features`` channels; ``kwargs`` are its ``device`` and ``dtype``."""
        self.num_features = num_features
        self.global_pool, self.classifier = create_classifier(
            num_features, self.num_classes, pool_type=global_pool, **kwargs
        )
        self.head_hidden_size = num_features * self.global_pool.feat_mult()

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
        x = self._stem(x)
        found = []
        for index, stage in enumerate(self.blocks):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing and self.training else stage(x)
            if index in wanted:
                found.append(x)
            if stop_early and index == self.stage_ends[deepest]:
                break
        if intermediates_only:
            return found
        return self._head_features(x) if index == self.stage_ends[-1] else x, found

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the chosen levels do not need; returns their indices."""
        levels, deepest = feature_take_indices(len(self.stage_ends), indices)
        self.blocks = self.blocks[: self.stage_ends[deepest] + 1]
        if prune_norm or prune_head or len(self.blocks) <= self.stage_ends[-1]:
            self._remove_head()
            self.num_features = self.feature_info[deepest]["num_chs"]
            self.reset_classifier(0, "")
        return levels

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``(B, in_chans, H, W)`` to the features before pooling, ``(B, num_features, H', W')``."""
        x = self._stem(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq(self.blocks, x, flatten=True)
        else:
            x = self.blocks(x)
        return self._head_features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify; ``pre_logits=True`` stops before the classifier."""
        x = self.global_pool(x)
        if self.drop_rate > 0.0:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, in_chans, H, W)``."""
        return self.forward_head(self.forward_features(x))


def stage_reductions(strides: Sequence[int], stem_reduction: int) -> list[int]:
    """Return the reduction after each stage from the stages' strides and the reduction of what precedes them."""
    found = []
    for stride in strides:
        stem_reduction *= stride
        found.append(stem_reduction)
    return found
