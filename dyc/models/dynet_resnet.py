"""Dy-ResNet18 and Dy-ResNet50 for ImageNet.

Zhang et al., DyNet, https://arxiv.org/abs/2004.10694: ResNet (https://arxiv.org/abs/1512.03385) with half the channels
in every residual block. All convolutions of a block are dynamic, with coefficients from two linear layers of a quarter
of the block's channels; stem and projections are static. With half the channels the first stage of Dy-ResNet18 needs a
projection, too. Norms and activations, which the publication does not draw, are those of timm's ResNet.
"""

from collections.abc import Sequence
from functools import partial

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from dyc.layers import BlockCoefficients
from dyc.models.arguments import Argument, offers
from dyc.models.dynet_blocks import dynamic_like, with_kernels
from dyc.models.registration import imagenet_cfg, register

CHANNELS = (32, 64, 128, 256)
"""Channels of the stages, half of ResNet's."""


def _share(block: nn.Module, convs: Sequence[str], num_kernels: int) -> None:
    """Make these convolutions of a residual block dynamic, with one module that predicts all their coefficients."""
    layers = [block.get_submodule(name) for name in convs]
    in_channels, weight = layers[0].in_channels, layers[0].weight
    for name, conv in zip(convs, layers):
        gain = 1 if name == convs[-1] else 2  # no activation before the shortcut is added
        block.set_submodule(name, dynamic_like(conv, num_kernels, gain).to(weight))
    widths = [conv.out_channels for conv in layers]
    block.coefficients = BlockCoefficients(in_channels, widths, num_kernels, hidden=in_channels // 4).to(weight)


class DyNetBasicBlock(BasicBlock):
    """timm's ``BasicBlock`` with dynamic convolutions; ``num_kernels`` per output channel."""

    def __init__(self, *args, num_kernels: int = 6, **kwargs):
        super().__init__(*args, **kwargs)
        _share(self, ("conv1", "conv2"), num_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/stride, W/stride)``."""
        first, second = self.coefficients(x)
        y = self.bn1(self.conv1(x, first))
        y = self.aa(self.act1(self.drop_block(y)))
        y = self.bn2(self.conv2(y, second))
        if self.se is not None:
            y = self.se(y)
        if self.drop_path is not None:
            y = self.drop_path(y)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act2(y + shortcut)


class DyNetBottleneck(Bottleneck):
    """timm's ``Bottleneck`` with dynamic convolutions; ``num_kernels`` per output channel."""

    def __init__(self, *args, num_kernels: int = 6, **kwargs):
        super().__init__(*args, **kwargs)
        _share(self, ("conv1", "conv2", "conv3"), num_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H/stride, W/stride)``."""
        first, second, third = self.coefficients(x)
        y = self.act1(self.bn1(self.conv1(x, first)))
        y = self.bn2(self.conv2(y, second))
        y = self.aa(self.act2(self.drop_block(y)))
        y = self.bn3(self.conv3(y, third))
        if self.se is not None:
            y = self.se(y)
        if self.drop_path is not None:
            y = self.drop_path(y)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act3(y + shortcut)


@offers(
    {"zero_init_last": Argument("zero_init_last", "bool", False)},
    ResNet,
    fixed=("block", "layers", "channels", "block_args", "num_kernels"),
)
def _build(
    block: type[nn.Module], layers: tuple[int, ...], num_kernels: int, zero_init_last: bool = False, **kwargs
) -> ResNet:
    # timm would start a block's last norm at zero, where no kernel of the block has a gradient at first.
    block_args = {"num_kernels": num_kernels, **kwargs.pop("block_args", {})}
    return ResNet(block, layers, channels=CHANNELS, zero_init_last=zero_init_last, block_args=block_args, **kwargs)


# Blocks of each stage; ``CHANNELS`` are those of the basic blocks and of the bottlenecks' 3x3 convolutions.
RESNET18 = partial(_build, DyNetBasicBlock, (2, 2, 2, 2))
RESNET50 = partial(_build, DyNetBottleneck, (3, 4, 6, 3))

VARIANTS = {
    "dynet_resnet18": (with_kernels(RESNET18), "Dy-ResNet18."),
    "dynet_resnet50": (with_kernels(RESNET50), "Dy-ResNet50."),
}

default_cfgs = {name: imagenet_cfg("conv1", "fc") for name in VARIANTS}

register(__name__, VARIANTS, out_indices=(0, 1, 2, 3, 4), feature_cls="list", flatten_sequential=False)
