"""How a layer's responses change when noise is added to the image: each kernel alone, their average, and their mixture.

The motivation of DyNet (Zhang et al., https://arxiv.org/abs/2004.10694): a static network needs several correlated
kernels that together give a feature free of noise, a dynamic kernel gives it alone.
"""

from collections.abc import Sequence
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
    model: nn.Module, layer: str, x: Tensor, sigmas: Sequence[float], seed: int = 0, whole: bool = False
) -> list[Response]:
    """Return the responses of a layer to images with growing noise.

    The noise is white and Gaussian, drawn once and scaled; it is added to the image, and the network up to the layer
    is left as it is. Each kernel of the bank then convolves what reaches the layer, with the weights that all kernels
    together have.

    Args:
        model: The network, run in evaluation mode.
        layer: Name of a layer; of one that is not dynamic, its output is looked at.
        x: Images, ``(B, C, H, W)``, as prepared for the network.
        sigmas: Amounts of noise, in standard deviations of ``x``.
        seed: Seed of the noise.
        whole: Look at the layer's output alone, also of a dynamic one.

    Raises:
        ArgumentError: There is no such layer, it is not run, or its output is no feature map.
    """
    found = layer_of(model, layer)
    single = whole or not isinstance(found, DynamicConv2d)
    noise = white_noise(x, seed)
    clean: dict[str, Tensor] = {}
    responses = []
    with evaluating(model):
        for sigma in dict.fromkeys((0.0, *sigmas)):
            for kernel, y in _responses(model, layer, x + sigma * noise, single).items():
                if kernel not in clean:
                    clean[kernel] = y
                if sigma in sigmas:
                    responses.append(Response(kernel, sigma, _correlation(clean[kernel], y), y[0]))
    return responses


def white_noise(x: Tensor, seed: int = 0) -> Tensor:
    """Return Gaussian noise of the shape and the standard deviation of images ``(B, C, H, W)``."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x) * x.std()


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


def _correlation(a: Tensor, b: Tensor) -> float:
    """Return the correlation of two responses ``(B, C, H, W)``, the mean over the channels that vary."""
    a, b = (each.double().transpose(0, 1).flatten(1) for each in (a, b))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    scale = a.norm(dim=1) * b.norm(dim=1)
    alive = scale > 1e-12 * scale.max()
    return ((a * b).sum(1)[alive] / scale[alive]).mean().item()
