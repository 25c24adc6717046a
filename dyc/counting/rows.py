"""The rows of a profile: what one layer, and one norm, activation or pooling, counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerProfile:
    """One layer: its own parameters, MACs per image, and the MACs of mixing its bank (zero for static layers).

    ``role`` is ``"attention"`` inside the attention branch of a dynamic layer, ``"classifier"``, or else
    ``"convolution"`` or ``"linear"``.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    mixing_macs: int = 0
    role: str = "convolution"


@dataclass(frozen=True)
class ElementCount:
    """One norm, activation or pooling: where it ran, what it is, and its elements per image.

    Args:
        name: Innermost module that ran it, such as ``"blocks.0.0.bn1.act"``.
        operation: ``"norm"``, ``"activation"`` or ``"pooling"``.
        function: PyTorch's operator, such as ``"relu"``; ReLU6 is ``"hardtanh"``.
        elements: Elements that leave a norm or an activation, or that enter a pooling.
        role: ``"attention"`` inside the attention branch of a dynamic layer, ``"network"`` elsewhere.
    """

    name: str
    operation: str
    function: str
    elements: int
    role: str = "network"
