"""A network with one dynamic layer that trains in milliseconds, by the name ``tiny_dynamic``."""

from timm import is_model
from timm.models import register_model
from torch import nn

import dyc


class TinyDynamic(nn.Module):
    """A convolution, BatchNorm, a DYC layer and dropout."""

    def __init__(self, in_chans=3, num_classes=10):
        super().__init__()
        self.num_classes = num_classes
        self.stem, self.norm = nn.Conv2d(in_chans, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.dynamic = dyc.DynamicConv2d(8, 8, 3, padding=1, attention="dyc")
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.drop(self.dynamic(self.norm(self.stem(x)).relu()).mean((2, 3))))


if not is_model("tiny_dynamic"):

    @register_model
    def tiny_dynamic(pretrained=False, **kwargs):
        return TinyDynamic(**{k: v for k, v in kwargs.items() if k in ("in_chans", "num_classes")})
