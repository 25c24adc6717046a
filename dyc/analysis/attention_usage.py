"""Which kernels a network uses for which images: its attention by layer, by class, and by image."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import attention_seen, evaluating, run
from dyc.dynamic_model import iter_dynamic
from ops import ArgumentError


@dataclass(frozen=True)
class LayerUsage:
    """The attention of one layer over many images.

    Args:
        entropy: Mean entropy over its maximum ``log K``, as :class:`dyc.analysis.AttentionStatistics`.
        variation: Standard deviation of a weight over the images, averaged over kernels and output channels.
        class_share: Share of the weights' variance that the class explains, from 0 to 1, without what as many classes
            drawn at random would explain (epsilon squared).
        kernels: Mean weight of each kernel, ``(K,)``.
        classes: Mean weight of each kernel for each class, ``(classes, K)``; NaN for a class without images.
        top: Numbers of the images that give each kernel most weight, ``(K, n)``, the first one most.
        top_weights: Their weights, ``(K, n)``.
        channels: Output channels that have weights of their own, over which ``kernels``, ``classes`` and ``top`` are
            means; 1 where all channels share their weights.
    """

    entropy: float
    variation: float
    class_share: float
    kernels: Tensor
    classes: Tensor
    top: Tensor
    top_weights: Tensor
    channels: int = 1


class _Sums:
    """What is kept of one layer; it does not grow with the number of images."""

    def __init__(self, classes: int, keep: int):
        self.classes, self.keep = classes, keep
        self.images = self.entropy = 0
        self.best: Tensor | None = None

    def add(self, weights: Tensor, labels: Tensor, first: int) -> None:
        weights = weights.double().cpu()
        weights = weights[..., None] if weights.dim() == 2 else weights  # as one weight for each output channel
        if self.best is None:
            self.by_class = torch.zeros(self.classes, *weights.shape[1:], dtype=torch.float64)
            self.squares = torch.zeros(weights.shape[1:], dtype=torch.float64)
            self.counts = torch.zeros(self.classes, dtype=torch.float64)
            self.best = torch.zeros(weights.shape[1], 0, dtype=torch.float64)
            self.best_of = torch.zeros(weights.shape[1], 0, dtype=torch.int64)
        shares = weights / weights.sum(1, keepdim=True)
        self.entropy += torch.special.entr(shares).sum(1).mean(1).sum().item()
        self.images += len(weights)
        self.by_class.index_add_(0, labels, weights)
        self.counts.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        self.squares += weights.square().sum(0)
        own = weights.mean(2)
        numbers = torch.arange(first, first + len(own)).expand(own.shape[1], -1)
        weight, number = torch.cat([self.best, own.T], 1), torch.cat([self.best_of, numbers], 1)
        self.best, place = weight.topk(min(self.keep, weight.shape[1]), dim=1)
        self.best_of = number.gather(1, place)

    def usage(self) -> LayerUsage:
        total = self.by_class.sum(0)
        mean = total / self.images
        whole = (self.squares - total * mean).clamp(min=0)  # sums of squared deviations, each of one weight
        there = self.counts > 0
        means = self.by_class / self.counts[:, None, None]
        between = (self.counts[there, None, None] * (means[there] - mean).square()).sum()
        groups, scale = int(there.sum()), whole.sum().item()
        share = 0.0
        if scale > 1e-12 * self.squares.sum().item() and self.images > groups:
            within = (scale - between.item()) / (self.images - groups)
            share = min(1.0, max(0.0, 1 - within / (scale / (self.images - 1))))
        return LayerUsage(
            self.entropy / self.images / math.log(len(mean)) if len(mean) > 1 else 1.0,
            (whole / self.images).sqrt().mean().item(),
            share,
            mean.mean(1),
            means.mean(2),
            self.best_of,
            self.best,
            mean.shape[1],
        )


def attention_usage(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], classes: int, keep: int = 8
) -> dict[str, LayerUsage]:
    """Return how every dynamic layer attends to labelled images, by layer name.

    Args:
        model: The network, run in evaluation mode.
        batches: Images ``(B, C, H, W)`` and labels ``(B,)``.
        classes: Number of classes.
        keep: Images to keep for each kernel, those that give it most weight.

    Raises:
        ArgumentError: There is no dynamic layer, or no image.
    """
    sums = {name: _Sums(classes, keep) for name, _ in iter_dynamic(model)}
    if not sums:
        raise ArgumentError("model", sentence="it has no dynamic layers, whose attention could be shown")
    images = 0
    with evaluating(model):
        for x, labels in batches:
            add = partial(_add, sums, labels.cpu(), images)
            with attention_seen(model, add):
                run(model, x)
            images += len(x)
    if not images:
        raise ArgumentError("images", sentence="there are none")
    return {name: each.usage() for name, each in sums.items() if each.images}


def _add(sums: dict[str, _Sums], labels: Tensor, first: int, name: str, weights: Tensor) -> None:
    sums[name].add(weights, labels, first)
