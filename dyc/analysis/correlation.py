"""How strongly the channels of a layer's feature maps depend on each other: their Pearson correlations.

Zhang et al., DyNet, Figures 2 and 6, https://arxiv.org/abs/2004.10694: static kernels give feature maps that are
correlated, dynamic kernels much less so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import evaluating, outputs_seen, run
from ops import ArgumentError

BINS = ("none", "weak", "middle", "strong")
"""Names of the bins of DyNet's histograms, from the smallest absolute correlation on."""

EDGES = (0.2, 0.4, 0.6)
"""Where one bin ends and the next begins. The publication does not give its own."""

CONSTANT = 1e-6
"""A channel is constant if its standard deviation is at most this share of its mean: the rounding of float32."""


class ChannelCorrelation:
    """Adds up covariances of channels batch by batch; what is kept does not grow with the number of images.

    Every batch is centred by its own mean in float64 before products are formed, and joined with those before it by
    the formula of Chan, Golub and LeVeque (1983), so that a large mean costs no digits.

    Args:
        channels: Number of channels, ``C``.
        device: Where covariances are added up, in float64.

    Example:
        >>> import torch
        >>> found = ChannelCorrelation(2)
        >>> found.update(torch.tensor([[[[1.0, 2.0]], [[2.0, 4.0]]]]))
        >>> found.correlation().round(decimals=6).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, channels: int, device: torch.device | str = "cpu"):
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self.products = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def update(self, features: Tensor) -> None:
        """Add feature maps ``(B, C, ...)``, every position of every image being one observation.

        Raises:
            ArgumentError: A value is not finite.
        """
        rows = features.detach().movedim(1, -1).flatten(0, -2).to(self.mean.device, torch.float64)
        if not rows.shape[0]:
            return
        mean = rows.mean(0)
        if not mean.isfinite().all():
            raise ArgumentError(
                "features", sentence="are not finite; the network's weights or its input are the reason"
            )
        rows = rows - mean
        shift, before, added = mean - self.mean, self.count, rows.shape[0]
        self.count += added
        self.products.addmm_(rows.T, rows)
        self.products.addr_(shift, shift, alpha=before * added / self.count)
        self.mean += shift * (added / self.count)

    @property
    def alive(self) -> Tensor:
        """Which channels vary, ``(C,)``, bool; the correlation of a constant channel is not defined."""
        deviation = (self.products.diagonal() / max(self.count, 1)).sqrt()
        return deviation > CONSTANT * self.mean.abs()

    def correlation(self) -> Tensor:
        """Return the correlations of the channels that vary, ``(A, A)``, float64, with ones on the diagonal."""
        alive = self.alive
        products = self.products[alive][:, alive]
        deviation = products.diagonal().sqrt()
        found = (products / deviation / deviation[:, None]).clamp_(-1, 1)
        return found.fill_diagonal_(1)


@dataclass(frozen=True)
class LayerCorrelation:
    """The correlations of the channels of one layer.

    Args:
        layer: Its name.
        pairs: Correlation of each pair of channels that vary, once, ``(P,)``.
        matrix: All of them, ``(A, A)``.
        alive: Numbers of the channels that vary.
        dead: Numbers of those that are constant over all images and pixels.
        images: Images that were looked at.
        observations: Images times pixels of a feature map.
        loudest: Root mean square of the features of the loudest image, over that of the median image. Where it is
            large, a few images decide about all correlations.
    """

    layer: str
    pairs: Tensor
    matrix: Tensor
    alive: tuple[int, ...]
    dead: tuple[int, ...]
    images: int
    observations: int
    loudest: float

    def bins(self, edges: Sequence[float] = EDGES) -> dict[str, float]:
        """Return the share of pairs in each of :data:`BINS`, by their absolute correlation."""
        return bin_shares(self.pairs, edges)


def bin_shares(pairs: Tensor, edges: Sequence[float] = EDGES) -> dict[str, float]:
    """Return the share of correlations in each of :data:`BINS`; an edge belongs to the stronger bin.

    Args:
        pairs: Correlations, ``(P,)``.
        edges: Three rising absolute correlations between 0 and 1.

    Raises:
        ArgumentError: The edges are not such.

    Example:
        >>> import torch
        >>> bin_shares(torch.tensor([0.1, -0.2, 0.5, -0.9]))
        {'none': 0.25, 'weak': 0.25, 'middle': 0.25, 'strong': 0.25}
    """
    if len(edges) != 3 or not 0 < edges[0] < edges[1] < edges[2] < 1:
        raise ArgumentError("edges", list(edges), "three rising numbers between 0 and 1")
    if not pairs.numel():
        return dict.fromkeys(BINS, 0.0)
    number = torch.bucketize(pairs.abs(), torch.tensor(edges, dtype=pairs.dtype), right=True)
    counts = torch.bincount(number, minlength=len(BINS))
    return dict(zip(BINS, (counts / pairs.numel()).tolist()))


def channel_correlation(
    model: nn.Module, layer: str, batches: Iterable[Tensor], equal: bool = False
) -> LayerCorrelation:
    """Return the correlations between the channels of a layer's output, over images and pixels.

    Args:
        model: The network; it is run in evaluation mode.
        layer: Name of the layer, whose output is ``(B, C, ...)``.
        batches: Images, ``(B, C_in, H, W)``.
        equal: Divide the features of each image by their root mean square, so that all images have the same say.

    Raises:
        ArgumentError: There is no such layer, its output is no feature map, it is not finite, or fewer than two
            channels vary.
    """
    found: list[ChannelCorrelation] = []
    images, loudness = 0, []

    def add(name: str, _: nn.Module, x: Tensor, y: Tensor) -> None:
        if not isinstance(y, Tensor) or y.dim() < 3:
            got = f"{name!r}, whose output is {tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__}"
            raise ArgumentError("layer", got, "a layer whose output is feature maps, (B, C, H, W)")
        if not found:
            found.append(ChannelCorrelation(y.shape[1], y.device))
        rms = y.double().flatten(1).square().mean(1).sqrt()
        loudness.append(rms.cpu())
        if equal:
            y = y.double() / rms.clamp(min=1e-300).view(-1, *[1] * (y.dim() - 1))
        found[0].update(y)

    with evaluating(model), outputs_seen(model, [layer], add):
        for x in batches:
            run(model, x)
            images += len(x)
    if not found:
        raise ArgumentError("layer", sentence=f"{layer!r} was not run, as there are no images or the network skips it")
    alive = found[0].alive.cpu()
    if alive.sum() < 2:
        raise ArgumentError("layer", sentence=f"of {layer!r}, fewer than two channels vary over {images} images")
    matrix = found[0].correlation().cpu()
    above = torch.triu_indices(*matrix.shape, offset=1)
    numbers = torch.arange(len(alive))
    return LayerCorrelation(
        layer,
        matrix[above[0], above[1]],
        matrix,
        tuple(numbers[alive].tolist()),
        tuple(numbers[~alive].tolist()),
        images,
        found[0].count,
        _loudest(torch.cat(loudness)),
    )


def _loudest(rms: Tensor) -> float:
    return (rms.max() / rms.median().clamp(min=1e-300)).item()


def second_last_stage(model: nn.Module) -> str:
    """Return the name of the last layer before the network's last resolution, where DyNet measures correlations.

    Raises:
        ArgumentError: The network does not say what its stages are.
    """
    info = getattr(model, "feature_info", None)
    levels = [level["module"] for level in (getattr(info, "info", info) or [])]
    # A segmentation network's stages are those of its backbone, whose names begin further in.
    found = [name for name, _ in model.named_modules() if f".{name}".endswith(f".{levels[-2]}")] if levels[1:] else []
    if not found:
        raise ArgumentError("layer", sentence="name it, as the network does not say what its stages are")
    return min(found, key=len)
