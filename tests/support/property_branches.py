"""The branch of an attended convolution for property tests, and how exact what comes of it has to be."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

BRANCH = ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")


def attention_of(x: Tensor, fc1, bias1, fc2, bias2, temperature: float, kernels: int) -> Tensor:
    """Define the attention of :func:`ops.attended_conv2d`, ``(B, K)`` or ``(B, K, C_out)``."""
    logits = F.linear(F.relu(F.linear(x.mean((2, 3)), fc1, bias1)), fc2, bias2)
    logits = logits.unflatten(1, (kernels, -1)) if fc2.shape[0] != kernels else logits
    return torch.softmax(logits / temperature, 1)


def sensitivity(function: Callable[..., list[Tensor]], leaves: dict[str, Tensor]) -> list[Tensor]:
    """Return how far each result moves, at most, per relative change of the arguments, and its largest value.

    A branch is not linear, so that no sum of magnitudes bounds its error; an error of the arguments as large as one of
    the arithmetic does.
    """
    step = 1e-7
    middle = function(**leaves)
    most = [t.abs().amax() if t.numel() else t.new_zeros(()) for t in middle]
    for seed in (0, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        around = function(**{name: _moved(t, step, generator) for name, t in leaves.items()})
        for i, (near, at) in enumerate(zip(around, middle, strict=True)):
            if at.numel():
                most[i] = most[i].maximum((near - at).abs().amax() / step)
    return most


def _moved(t: Tensor, step: float, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, t.shape, generator=generator).double() * 2 - 1
    return (t.detach() * (1 + step * signs)).requires_grad_(t.requires_grad)
