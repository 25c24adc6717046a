"""Blocks that fold their convolutions into one for inference, and why they stay as they are with a new layer."""

import warnings
from collections.abc import Callable

from torch import nn

METHODS = ("fuse", "reparameterize", "switch_to_deploy")
"""What timm's ``reparameterize_model`` calls on the blocks of RepVGG, MobileOne, LeViT and the like."""


class Unfused:
    """Stands for a block's method that folds convolutions, which a dynamic or selective layer in it rules out.

    A static kernel takes in the BatchNorm behind it and the branches beside it; kernels that change with each input
    do not, nor does one whose BatchNorm has moved elsewhere. Folded blocks compute what they computed before, so
    leaving one as it is loses time, not results.
    """

    def __init__(self, block: nn.Module, why: str):
        self.block, self.why = block, why

    def __call__(self) -> nn.Module:
        """Warn, and return the block as it is."""
        warnings.warn(f"{type(self.block).__name__} is not fused: {self.why}", stacklevel=2)
        return self.block


def keep_unfused(model: nn.Module, changed: Callable[[nn.Module], bool], why: str) -> None:
    """Let blocks of ``model`` answer a call to be fused by staying as they are.

    Args:
        model: The network.
        changed: Tells for a module whether a block that holds it cannot be fused.
        why: The reason, for the warning.
    """
    for block in model.modules():
        if hasattr(block, "forward_features"):
            continue  # a whole network fuses block by block
        methods = [name for name in METHODS if callable(getattr(type(block), name, None))]
        if methods and any(map(changed, block.modules())):
            for name in methods:
                # In the instance, so that copies and pickles keep it; nn.Module's own setattr has no part in it.
                block.__dict__[name] = Unfused(block, why)
