"""Layers by the stage of the network that they belong to: a chart per stage is read, one per layer is not."""

import re
from collections.abc import Iterable, Mapping

ENTROPY = "attention/entropy/"
"""How the entropy of each layer begins in the logs."""


def layer_group(name: str) -> str:
    """Return the stage that a layer belongs to: its name up to the first part that ends in a digit, or its first part.

    Example:
        >>> [layer_group(name) for name in ("blocks.3.0.conv_dw", "layer2.1.conv1", "features.conv0", "head.fc")]
        ['blocks.3', 'layer2', 'features.conv0', 'head']
    """
    parts = name.split(".")
    ends = next((i for i, part in enumerate(parts) if re.search(r"\d$", part)), 0)
    return ".".join(parts[: ends + 1])


def by_group(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of layers by their stage, both in the order of the network.

    Example:
        >>> by_group(["blocks.3.0.conv_dw", "blocks.3.1.conv_dw", "blocks.4.0.conv_dw"])
        {'blocks.3': ['blocks.3.0.conv_dw', 'blocks.3.1.conv_dw'], 'blocks.4': ['blocks.4.0.conv_dw']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(layer_group(name), []).append(name)
    return groups


def with_group_means(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what was logged with the mean entropy of each stage in the place of the entropies of its layers.

    Example:
        >>> with_group_means({"val/top1": 0.5, f"{ENTROPY}blocks.3.0": 0.25, f"{ENTROPY}blocks.3.1": 0.75})
        {'val/top1': 0.5, 'attention/entropy/blocks.3': 0.5}
    """
    kept = {key: value for key, value in metrics.items() if not key.startswith(ENTROPY)}
    layers = {key.removeprefix(ENTROPY): value for key, value in metrics.items() if key.startswith(ENTROPY)}
    for group, names in by_group(layers).items():
        kept[ENTROPY + group] = sum(layers[name] for name in names) / len(names)
    return kept
