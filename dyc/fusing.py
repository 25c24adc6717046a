"""Blocks that fold their convolutions into one for inference, and why they stay as they are with a dynamic layer."""

import warnings

from torch import nn

from dyc.layers import DynamicConv2d

METHODS = ("fuse", "reparameterize", "switch_to_deploy")
"""What timm's ``reparameterize_model`` calls on the blocks of RepVGG, MobileOne, LeViT and the like."""


class Unfused:
    """Stands for a block's method that folds convolutions, which a dynamic layer in it rules out.

    A static kernel takes in the BatchNorm behind it and the branches beside it; kernels that change with each input
    do not. Folded blocks compute what they computed before, so leaving one as it is loses time, not results.
    """

    def __init__(self, block: nn.Module):
        self.block = block

    def __call__(self) -> nn.Module:
        """Warn, and return the block as it is."""
        warnings.warn(
            f"{type(self.block).__name__} is not fused: it holds dynamic convolutions, whose kernels change with "
            "each input",
            stacklevel=2,
        )
        return self.block


def keep_unfused(model: nn.Module) -> None:
    """Let the blocks of ``model`` that hold dynamic layers answer a call to be fused by staying as they are."""
    for block in model.modules():
        if hasattr(block, "forward_features"):
            continue  # a whole network fuses block by block
        methods = [name for name in METHODS if callable(getattr(type(block), name, None))]
        if methods and any(isinstance(module, DynamicConv2d) for module in block.modules()):
            for name in methods:
                # In the instance, so that copies and pickles keep it; nn.Module's own setattr has no part in it.
                block.__dict__[name] = Unfused(block)
