"""How a layer's responses change when noise is added to the image: each kernel alone, their average, and their mixture.

The motivation of DyNet (Zhang et al., https://arxiv.org/abs/2004.10694): a static network needs several correlated
kernels that together give a feature free of noise, a dynamic kernel gives it alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import attention_seen, evaluating, layer_of, outputs_seen, run
from dyc.layers import DynamicConv2d
from ops import ArgumentError

MIXED, AVERAGE, OUTPUT = "mixed for the image", "average kernel", "output"


@dataclass(frozen=True)
class Response:
    """What one kernel, or a mixture, makes of noisy images.

    Args:
        kernel: ``kernel 1`` and so on, :data:`AVERAGE` or :data:`MIXED`; :data:`OUTPUT` for a static layer.
        sigma: Standard deviation of the noise, in those of the images' pixels.
        correlation: Of the response with that to the images without noise: Pearson's, of each channel over images and
            pixels, averaged over channels; constant channels are left out.
        maps: The response to the first image, ``(C_out, H', W')``.
    """

    kernel: str
    sigma: float
    correlation: float
    maps: Tensor


def noise_responses(
    model: nn.Module,
    layer: str,
    batches: Iterable[Tensor],
    sigmas: Sequence[float],
    scale: float,
    seed: int = 0,
    whole: bool = False,
) -> list[Response]:
    """Return the responses of a layer to images with growing noise.

    The noise is white and Gaussian, drawn once for each image and scaled; it is added to the image, and the network up
    to the layer is left as it is. Each kernel of the bank then convolves what reaches the layer, with the weights that
    all kernels together have. One batch is in memory at a time, and the result does not depend on how the images are
    divided into batches.

    Args:
        model: The network, run in evaluation mode.
        layer: Name of a layer; of one that is not dynamic, its output is looked at.
        batches: Images, ``(B, C, H, W)``, as prepared for the network.
        sigmas: Amounts of noise, in units of ``scale``.
        scale: Usually the :func:`deviation` of the images.
        seed: Seed of the noise.
        whole: Look at the layer's output alone, also of a dynamic one.

    Raises:
        ArgumentError: There is no such layer, it is not run, or its output is no feature map.
    """
    found = layer_of(model, layer)
    single = whole or not isinstance(found, DynamicConv2d)
    generator = torch.Generator().manual_seed(seed)
    sums: dict[tuple[float, str], _Correlation] = {}
    maps: dict[tuple[float, str], Tensor] = {}
    with evaluating(model):
        for x in batches:
            noise = white_noise(x, scale, generator)
            clean = _responses(model, layer, x, single)
            for sigma in dict.fromkeys(sigmas):
                noisy = _responses(model, layer, x + sigma * noise, single) if sigma else clean
                for kernel, y in noisy.items():
                    maps.setdefault((sigma, kernel), y[0].clone())
                    sums.setdefault((sigma, kernel), _Correlation()).update(clean[kernel], y)
    return [
        Response(kernel, sigma, each.mean_correlation(), maps[sigma, kernel]) for (sigma, kernel), each in sums.items()
    ]


def white_noise(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of the shape of images ``(B, C, H, W)``, drawn for one image after the other."""
    return torch.stack([torch.randn(image.shape, generator=generator) for image in x]).to(x) * scale


def deviation(batches: Iterable[Tensor]) -> float:
    """Return the standard deviation of all pixels of batches, as ``torch.std`` of all of them together.

    Example:
        >>> round(deviation([torch.tensor([1.0, 2.0]), torch.tensor([6.0])]), 4)
        2.6458
    """
    count, mean, squares = 0, 0.0, 0.0
    for x in batches:
        own, added = x.double().mean().item(), x.numel()
        squares += (x.double() - own).square().sum().item() + (own - mean) ** 2 * count * added / (count + added)
        mean += (own - mean) * added / (count + added)
        count += added
    return (squares / (count - 1)) ** 0.5


def _responses(model: nn.Module, name: str, x: Tensor, single: bool) -> dict[str, Tensor]:
    """Return the layer's outputs by kernel, in the order kernels, average, mixture."""
    seen: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}

    def note(_: str, layer: nn.Module, inputs: Tensor, y: Tensor) -> None:
        seen.update(x=inputs.clone(), y=y.clone())  # what follows may change them in place

    with outputs_seen(model, [name], note), attention_seen(model, lambda each, found: weights.update({each: found})):
        run(model, x)
    if "y" not in seen or seen["y"].dim() != 4:
        raise ArgumentError("layer", repr(name), "a layer that the network runs, with feature maps as its output")
    if single:
        return {OUTPUT: seen["y"]}
    layer, own = layer_of(model, name), weights[name]
    kernels = own.shape[1]
    found = {}
    for k in range(kernels):
        alone = torch.zeros_like(own)
        alone[:, k] = own.sum(1)
        found[f"kernel {k + 1}"] = _with(layer, seen["x"], alone)
    found[AVERAGE] = _with(layer, seen["x"], own.mean(1, keepdim=True).expand_as(own))
    found[MIXED] = seen["y"]
    return found


def _with(layer: DynamicConv2d, x: Tensor, weights: Tensor) -> Tensor:
    """Run a layer with other weights of its kernels than its attention's."""
    if layer.attention is None:
        return layer(x, weights)
    with attention_seen(layer, lambda *_: weights):
        return layer(x)


class _Correlation:
    """Adds up the covariance of two responses batch by batch, as :class:`dyc.analysis.correlation.ChannelCorrelation`.

    Each channel is compared with itself, so that what is kept are two by two products for each of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.products: Tensor | float = 0.0

    def update(self, clean: Tensor, noisy: Tensor) -> None:
        """Add two responses ``(B, C, H, W)``."""
        both = torch.stack([each.double().transpose(0, 1).flatten(1) for each in (clean, noisy)], 1)  # (C, 2, N)
        mean, added = both.mean(2, keepdim=True), both.shape[2]
        both = both - mean
        shift, before = mean - self.mean, self.count
        self.count += added
        self.products = self.products + both @ both.mT + shift @ shift.mT * (before * added / self.count)
        self.mean = self.mean + shift * (added / self.count)

    def mean_correlation(self) -> float:
        """Return the mean over the channels that vary."""
        scale = (self.products[:, 0, 0] * self.products[:, 1, 1]).sqrt()
        alive = scale > 1e-12 * scale.max()
        return (self.products[:, 0, 1][alive] / scale[alive]).mean().item()
