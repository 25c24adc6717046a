"""How papers count operations: what each adds to the multiply-accumulates (MACs) of its convolutions.

Papers print "FLOPs" or "MAdds" of the same network that differ by up to a tenth because they count different things.
Each convention here reproduces the figures that its source prints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dyc.counting.rows import ElementCount, LayerProfile

ImageSize = tuple[int, int, int]


@dataclass(frozen=True)
class Convention:
    """A way of counting operations per image.

    Args:
        name: What ``profile(model).count(name)`` calls it.
        summary: What is counted, and by whom.
        layer: Operations of one layer.
        rest: Operations beside the layers, from the norms, activations and poolings, and ``(C, H, W)`` of the image.
    """

    name: str
    summary: str
    layer: Callable[[LayerProfile], int]
    rest: Callable[[Sequence[ElementCount], ImageSize], int] = lambda elements, input_size: 0

    def count(self, layers: Sequence[LayerProfile], elements: Sequence[ElementCount], input_size: ImageSize) -> int:
        """Return the operations per image of a network, from the rows of its profile."""
        return sum(self.layer(row) for row in layers) + self.rest(elements, input_size)


def eam_input_norm(input_size: ImageSize) -> int:
    """Return two operations per element of the input image: 301,056 for 3 channels of 224 x 224 pixels.

    What EAM-DyNet's authors counted here is not known. In all its five printed figures the rest of the convention
    leaves 0.304M with an uncertainty of 0.004M, and a BatchNorm on the image itself would be this.
    """
    channels, height, width = input_size
    return 2 * channels * height * width


def _eam_rest(elements: Sequence[ElementCount], input_size: ImageSize) -> int:
    total = eam_input_norm(input_size)
    for row in elements:
        if row.operation == "norm":
            total += 2 * row.elements
        elif row.operation == "pooling" or (row.function == "relu" and row.role == "network"):
            total += row.elements
    return total


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "macs",
            "MACs of convolutions and linear layers, those of the attention included (DYC report).",
            lambda row: row.macs,
        ),
        Convention(
            "macs+mixing",
            "The same and one MAC per kernel weight for mixing the banks (Dynamic Convolution; DyNet as revised).",
            lambda row: row.macs + row.mixing_macs,
        ),
        Convention(
            "conv",
            "MACs of convolutions outside the attention, and of the classifier (DyNet as first submitted).",
            lambda row: row.macs if row.role in ("convolution", "classifier") else 0,
        ),
        Convention(
            "eam",
            "MACs, two per element of a norm, one per element of the network's ReLUs (not ReLU6 and others, nor the "
            "attention's), one per element entering a pooling, two per element of the image (EAM-DyNet).",
            lambda row: row.macs,
            _eam_rest,
        ),
    )
}
"""Every convention by name."""
