"""What a trained network owes to its attention: replace the weights of its kernels, and see what is lost.

Chen et al., Dynamic Convolution, section 5.2, https://arxiv.org/abs/1912.03458. Every change keeps the sum of the
weights over the kernels, so that attention that does not sum to one (DyNet's sigmoid) keeps its scale.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import attention_seen, evaluating, outputs_seen, run
from dyc.dynamic_model import iter_dynamic
from ops import ArgumentError, unknown_name

Change = Callable[[Tensor, torch.Generator], Tensor]


def average_kernel(weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Give all kernels the same weight, ``(B, K)`` or ``(B, K, C_out)``: 1/K where the weights sum to one."""
    return weights.mean(1, keepdim=True).expand_as(weights)


def largest_kernel(weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Give all weight to the kernel that has most, for each image, and for each output channel where they differ."""
    largest = torch.zeros_like(weights).scatter_(1, weights.argmax(1, keepdim=True), 1)
    return largest * weights.sum(1, keepdim=True)


def shuffled_kernels(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Give the kernels of each image each other's weights, in an order drawn for every image."""
    order = torch.rand(weights.shape[:2], generator=generator).argsort(1).to(weights.device)
    return weights.gather(1, order[..., None].expand_as(weights) if weights.dim() == 3 else order)


def shuffled_images(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Give each image the weights of another image of the batch, in all layers those of the same one.

    A batch of one image keeps its own.
    """
    # A round through all images in a random order, in which none meets itself.
    order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(generator.initial_seed()))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return weights[other.to(weights.device)]


CHANGES: dict[str, Change] = {
    "average kernel": average_kernel,
    "kernel of the largest weight": largest_kernel,
    "shuffled between images": shuffled_images,
    "shuffled between kernels": shuffled_kernels,
}
"""What can be done to the weights; each is given them and a source of random numbers."""


@contextmanager
def changed_attention(
    model: nn.Module, change: str, layers: Collection[str] | None = None, seed: int = 0
) -> Iterator[None]:
    """Change the attention of a network while it runs.

    Args:
        model: A network with dynamic layers.
        change: One of :data:`CHANGES`.
        layers: Names of the dynamic layers to change; by default all.
        seed: Seed of what is drawn.

    Raises:
        ArgumentError: There is no such change, or no dynamic layer.

    Example:
        >>> import dyc, timm, torch
        >>> model = timm.create_model("dyc_mobilenetv2_cifar").eval()
        >>> with changed_attention(model, "average kernel"):
        ...     logits = model(torch.randn(2, 3, 32, 32))
    """
    if change not in CHANGES:
        raise unknown_name("change", change, CHANGES)
    if next(iter_dynamic(model), None) is None:
        raise ArgumentError("model", sentence="it has no dynamic layers, whose attention could be changed")
    generator = torch.Generator().manual_seed(seed)

    def seen(name: str, weights: Tensor) -> Tensor | None:
        return CHANGES[change](weights, generator) if layers is None or name in layers else None

    with attention_seen(model, seen):
        yield


@dataclass(frozen=True)
class Accuracy:
    """How a network does on some images.

    Args:
        images: Their number.
        top1: Share whose most probable class is right.
        top5: Share whose class is among the five most probable.
        loss: Mean cross-entropy.
        agreement: Share with the same most probable class as the reference.
        change: ``top1`` minus that of the reference.
        change_error: Standard error of the change, of the same images: smaller than those of the two accuracies.
    """

    images: int
    top1: float
    top5: float
    loss: float
    agreement: float = 1.0
    change: float = 0.0
    change_error: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of ``top1``, from the number of images alone."""
        return (self.top1 * (1 - self.top1) / self.images) ** 0.5


def accuracy(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], reference: Tensor | None = None
) -> tuple[Accuracy, Tensor]:
    """Return how a network does on labelled images, and its most probable classes ``(N,)``.

    Args:
        model: The network, run in evaluation mode.
        batches: Images ``(B, C, H, W)`` and labels ``(B,)``.
        reference: Classes to compare with, ``(N,)``.

    Raises:
        ArgumentError: There are no images, or the outputs are no logits of the labels' classes.
    """
    classes, truths, right5, loss = [], [], 0, 0.0
    with evaluating(model):
        for x, labels in batches:
            logits = run(model, x).float()
            if logits.dim() != 2 or int(labels.max()) >= logits.shape[1]:
                got = f"outputs of shape {tuple(logits.shape)} for labels up to {int(labels.max())}"
                raise ArgumentError("model", got, "a classifier of the data's classes")
            ranked = logits.topk(min(5, logits.shape[1])).indices
            right5 += int((ranked == labels[:, None]).sum())
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            classes.append(ranked[:, 0].cpu())
            truths.append(labels.cpu())
    if not classes:
        raise ArgumentError("images", sentence="there are none")
    found, truth = torch.cat(classes), torch.cat(truths)
    right, images = (found == truth).double(), len(found)
    compared = {}
    if reference is not None:
        change = right - (reference == truth).double()
        compared["agreement"] = (found == reference).double().mean().item()
        compared["change"] = change.mean().item()
        compared["change_error"] = change.std(correction=0).item() / images**0.5
    return Accuracy(images, right.mean().item(), right5 / images, loss / images, **compared), found


def resolutions(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Return the height of the output of every dynamic layer, in pixels, for images ``(B, C, H, W)``."""
    found: dict[str, int] = {}
    names = [name for name, _ in iter_dynamic(model)]
    with evaluating(model), outputs_seen(model, names, lambda name, _, x, y: found.update({name: y.shape[-2]})):
        run(model, x)
    return found
