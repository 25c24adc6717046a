"""What the attention of a model does: how spread its weights are, and how much they follow the input."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyc.analysis.hooks import attention_seen, evaluating, run
from dyc.dynamic_model import iter_dynamic


@dataclass(frozen=True)
class AttentionStatistics:
    """The attention over the kernels of one layer, for a batch.

    ``entropy`` is the mean entropy over its maximum ``log K``: 1 is uniform, 0 picks one kernel; weights that do not
    sum to one are divided by their sum for it. ``variation`` is the standard deviation of a weight over the inputs,
    averaged over kernels: 0 means that the input is ignored. ``kernels`` is the mean weight of each kernel.
    """

    entropy: float
    variation: float
    kernels: tuple[float, ...]


def attention_statistics(model: nn.Module, x: Tensor) -> dict[str, AttentionStatistics]:
    """Measure the attention of every dynamic layer on a batch, in evaluation mode.

    Args:
        model: Any model; a static one gives an empty dict. The mode of each module is restored.
        x: Images, ``(B, C, H, W)``; floats of any type, which are converted to that of the model's weights.

    Returns:
        Statistics by layer name, in the order of the network.

    Raises:
        ArgumentError: ``model`` is no module.
    """
    found: dict[str, AttentionStatistics] = {}

    def record(name: str, weights: Tensor) -> None:
        found[name] = _statistics(weights.float())

    if next(iter_dynamic(model), None) is not None:
        with evaluating(model), attention_seen(model, record):
            run(model, x)
    return found


def _statistics(weights: Tensor) -> AttentionStatistics:
    kernels = weights.shape[1]
    entropy = torch.special.entr(weights / weights.sum(1, keepdim=True)).sum(1).mean().item()
    variation = weights.std(0, correction=0).mean().item()
    means = weights.transpose(0, 1).flatten(1).mean(1).tolist()
    return AttentionStatistics(entropy / math.log(kernels) if kernels > 1 else 1.0, variation, tuple(means))
