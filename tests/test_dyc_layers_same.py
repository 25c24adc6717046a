"""DynamicConv2dSame: zero padding that depends on the size of each input, as timm and PyTorch add it."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

import dyc
import ops


@pytest.mark.parametrize("size", [(1, 1), (7, 8), (8, 7), (13, 16)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"),
    [(3, 2, 1, 6), (5, 2, 1, 1), (4, 1, 1, 6), ((3, 5), (2, 1), 1, 6), (3, 2, 2, 2), (1, 2, 1, 1), (3, 3, 1, 6)],
)
@pytest.mark.parametrize("attention", ["dy", "dyc"])
def test_it_is_that_of_timm(attention, kernel, stride, dilation, groups, size):
    conv = Conv2dSame(6, 6, kernel, stride, dilation=dilation, groups=groups)
    model = dyc.make_dynamic(nn.Sequential(conv), attention, where="0", temperature=1.0)
    assert type(model[0]) is dyc.DynamicConv2dSame
    x = torch.randn(2, 6, *size)
    torch.testing.assert_close(model(x), conv(x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [2, 3, (2, 3)])
def test_it_is_that_of_pytorch(kernel):
    conv = nn.Conv2d(4, 4, kernel, padding="same", dilation=(1, 3))
    model = dyc.make_dynamic(nn.Sequential(conv), "dy", where="0")
    x = torch.randn(2, 4, 9, 6)
    torch.testing.assert_close(model(x), conv(x))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_attention_does_not_see_it(memory_format):
    layer = dyc.DynamicConv2dSame(4, 4, 3, stride=2, groups=4, attention="dyc", temperature=0.1)
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=memory_format)
    kernels = ops.mix_kernels(layer.weight, layer.attention(x)).squeeze(2)
    bias = ops.mix_kernels(layer.bias, layer.attention(x))[..., None, None]
    want = ops.depthwise_conv2d(nn.functional.pad(x, (0, 1, 0, 1)), kernels, stride=2) + bias
    y = layer(x)
    torch.testing.assert_close(y, want)
    assert y.is_contiguous(memory_format=memory_format)
