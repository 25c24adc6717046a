"""The kernels of a layer in the plane of their two principal directions, and the mixtures that images get.

Chen et al., Dynamic Convolution, section 3.3, https://arxiv.org/abs/1912.03458: attention that sums to one keeps the
mixtures inside the convex hull of the kernels (a triangle for three), sigmoids let them leave it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import attention_seen, evaluating, layer_of, run
from dyc.layers import DynamicConv2d
from ops import ArgumentError


@dataclass(frozen=True)
class KernelPlane:
    """A layer's kernels and mixtures in a plane.

    Args:
        layer: Its name.
        kernels: Places of the kernels, ``(K, 2)``, their mean being the origin.
        mixtures: Places of the mixed kernels of the images, ``(N, 2)``.
        explained: Shares of the kernels' variance along the two directions.
        spread: Root mean square distance of the mixtures from their mean, over that of the kernels from theirs, in all
            directions.
        labels: Labels of the images, ``(N,)``.
    """

    layer: str
    kernels: Tensor
    mixtures: Tensor
    explained: tuple[float, float]
    spread: float
    labels: Tensor


def kernel_plane(
    model: nn.Module, layer: str, batches: Iterable[tuple[Tensor, Tensor]], channel: int | None = None
) -> KernelPlane:
    """Return the kernels of a layer, and the mixtures of images, in the kernels' plane.

    Args:
        model: The network, run in evaluation mode.
        layer: Name of a dynamic layer with at least three kernels.
        batches: Images ``(B, C, H, W)`` and labels ``(B,)``.
        channel: An output channel; by default the kernels of all channels are one vector.

    Raises:
        ArgumentError: The layer is not dynamic, has fewer than three kernels or no such channel, or there are no
            images.
    """
    bank = check_kernels(model, layer, channel).weight.detach().double().cpu().flatten(2)  # (K, C_out, D)
    seen, labels = [], []

    def note(name: str, weights: Tensor) -> None:
        if name == layer:
            seen.append(weights.double().cpu())

    with evaluating(model), attention_seen(model, note):
        for x, of_batch in batches:
            run(model, x)
            labels.append(of_batch.cpu())
    if not seen:
        raise ArgumentError("images", sentence="there are none, or the network skips the layer")
    attention = torch.cat(seen)
    attention = attention[..., None].expand(-1, -1, bank.shape[1]) if attention.dim() == 2 else attention
    if channel is not None:
        bank, attention = bank[:, channel : channel + 1], attention[..., channel : channel + 1]
    centre = bank.mean(0)
    centred = (bank - centre).flatten(1)
    _, scale, directions = torch.linalg.svd(centred, full_matrices=False)
    plane = directions[:2].unflatten(1, bank.shape[1:])  # (2, C_out, D)
    places = torch.einsum("kcd,pcd->kcp", bank, plane)  # of each kernel's channels along both directions
    origin = torch.einsum("cd,pcd->p", centre, plane)
    mixtures = torch.einsum("bkc,kcp->bp", attention, places) - origin
    variance = scale.square()
    # All distances follow from the products of kernels, so that no mixture is ever made.
    gram = torch.einsum("kcd,lcd->ckl", bank, bank)
    moved = attention - attention.mean(0)
    distance = torch.einsum("bkc,ckl,blc->b", moved, gram, moved).clamp(min=0).mean().sqrt()
    spread = (distance / (variance.sum() / len(bank)).sqrt()).item() if variance.sum() > 0 else 0.0
    share = (variance / variance.sum().clamp(min=1e-300))[:2].tolist()
    return KernelPlane(layer, places.sum(1) - origin, mixtures, (share[0], share[1]), spread, torch.cat(labels))


def check_kernels(model: nn.Module, layer: str, channel: int | None = None) -> DynamicConv2d:
    """Return a dynamic layer whose kernels have a plane.

    Raises:
        ArgumentError: The layer is not dynamic, has fewer than three kernels or no such channel.
    """
    found = layer_of(model, layer)
    if not isinstance(found, DynamicConv2d) or found.num_kernels < 3:
        kernels = getattr(found, "num_kernels", None)
        got = repr(layer) + (f", which has {kernels} kernels" if kernels else ", which is not dynamic")
        raise ArgumentError("layer", got, "a dynamic layer with at least three kernels")
    if channel is not None and not 0 <= channel < found.weight.shape[1]:
        raise ArgumentError("channel", channel, f"a number from 0 to {found.weight.shape[1] - 1}")
    return found


def hull(points: Tensor) -> Tensor:
    """Return the corners of the convex hull of points ``(K, 2)``, in order.

    Example:
        >>> hull(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.5]])).tolist()
        [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]
    """

    def half(ordered: list[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for x, y in ordered:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append([x, y])
        return kept[:-1]

    ordered = sorted(points.tolist())
    return torch.tensor(half(ordered) + half(ordered[::-1]), dtype=points.dtype)
