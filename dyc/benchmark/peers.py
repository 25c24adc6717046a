"""The dynamic depthwise layer as public implementations formulate it, for comparison."""

import torch
from torch import Tensor, nn

from dyc.benchmark.operators import grouped
from dyc.layers import DynamicConv2d


class PeerLayer(nn.Module):
    """Squeeze by 1x1 convolutions, mix by ``torch.mm`` or ``torch.einsum``, fold the batch into the groups; on NCHW.

    Args:
        layer: A depthwise layer without bias, of square kernels, padded to keep the size, whose parameters it copies
            and whose outputs it reproduces.

    Shape:
        ``(B, C, H, W)`` to ``(B, C, H', W')``.
    """

    def __init__(self, layer: DynamicConv2d):
        super().__init__()
        attention = layer.attention
        hidden, channels = attention.fc1.weight.shape
        self.stride, self.kernel, self.dilation = layer.stride[0], layer.weight.shape[-1], layer.dilation[0]
        self.temperature = float(attention.temperature)
        self.per_channel = attention.per_channel
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, attention.fc2.out_features, 1)
        self.weight = nn.Parameter(layer.weight.detach().clone())
        with torch.no_grad():
            self.fc1.weight.copy_(attention.fc1.weight[:, :, None, None])
            self.fc2.weight.copy_(attention.fc2.weight[:, :, None, None])
            self.fc2.bias.copy_(attention.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each sample with its own mixture."""
        kernels = self.weight.shape[0]
        z = self.fc2(torch.relu(self.fc1(self.pool(x)))).view(len(x), kernels, -1)
        attention = torch.softmax(z / self.temperature, dim=1)
        if self.per_channel:
            mixed = torch.einsum("bkc,kcihw->bcihw", attention, self.weight)
        else:
            mixed = torch.mm(attention.squeeze(2), self.weight.view(kernels, -1))
        return grouped(x, mixed, self.stride, self.kernel, self.dilation)
