"""Weights of the classes in the loss, from how many pixels of the training each class has."""

from collections.abc import Callable

import torch
from torch import Tensor

from ops import unknown_name


def median_frequency(counts: Tensor) -> Tensor:
    """Weigh a class by the median of all frequencies over its own, so that a class of the median frequency gets 1.

    The frequency of a class is the share of its pixels in those images that have it (Eigen and Fergus 2015,
    https://arxiv.org/abs/1411.4734). A class that never occurs gets 0.

    Args:
        counts: Pixels of each image and class, ``(N, classes)``; void counts as no pixel.
    """
    counts = counts.double()
    pixels = counts.sum(1, keepdim=True)
    frequency = counts.sum(0) / (pixels * (counts > 0)).sum(0)
    there = frequency[frequency > 0]  # without what is not a number, of classes that never occur
    middle = there.quantile(0.5)
    return torch.where(frequency > 0, middle / frequency, 0.0).float()


def enet(counts: Tensor) -> Tensor:
    """Weigh a class by ``1 / ln(1.02 + its share of all pixels)``, from 1.4 to 50.5 (Paszke et al. 2016).

    The paper: https://arxiv.org/abs/1606.02147.

    Args:
        counts: Pixels of each image and class, ``(N, classes)``; void counts as no pixel.
    """
    counts = counts.double().sum(0)
    return (1 / torch.log(1.02 + counts / counts.sum())).float()


METHODS: dict[str, Callable[[Tensor], Tensor]] = {"median_frequency": median_frequency, "enet": enet}


def weigh_classes(counts: Tensor, method: str = "median_frequency") -> Tensor:
    """Return the weight of each class by a method of :data:`METHODS`.

    Raises:
        ArgumentError: The method is unknown.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    return METHODS[method](counts)
