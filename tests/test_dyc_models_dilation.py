"""Networks that keep their resolution: all of them take an output stride, and read the pixels that they read before."""

import pytest
import timm
import torch
from torch import nn

from dyc.models.dilation import DilatedPool2d, dilate
from ops import ArgumentError


def features(name, stride, size):
    net = timm.create_model(name, features_only=True, output_stride=stride, out_indices=(-2, -1)).eval()
    with torch.inference_mode():  # takes a third of the time that the same on the meta device takes
        return net, net(torch.zeros(1, 3, size, size))


def test_every_network_takes_an_output_stride(name_of_form):
    own = timm.create_model(name_of_form).feature_info[-1]["reduction"]
    size = 2 * own  # small, as the networks for 32x32 images are wide where they keep their resolution
    for stride in (own // 4, own // 2, own):
        if stride < 8 and own > 8:
            continue
        net, levels = features(name_of_form, stride, size)
        assert [size // level.shape[-1] for level in levels] == net.feature_info.reduction()
        assert net.feature_info.reduction()[-1] == stride
        assert [level.shape[1] for level in levels] == net.feature_info.channels()


@pytest.mark.parametrize("name", ["fix_shuffle_100", "preresnet50", "densenet121"])
def test_a_dilated_network_reads_the_same_pixels(name):
    # Every fourth pixel of the dilated maps is one of the network as it was: only pixels between them were added.
    whole = timm.create_model(name, num_classes=0).double().eval()
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = whole.forward_intermediates(images, intermediates_only=True)[-1]
        after = dilate(whole, 8).forward_intermediates(images, intermediates_only=True)[-1]
    assert after.shape[-2:] == (8, 8)
    torch.testing.assert_close(after[..., ::4, ::4], before)
    assert not torch.allclose(after[..., 1::4, 1::4], before)


def test_pooling_with_distance():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    pooled = DilatedPool2d(2, 2)(x)
    assert pooled.shape == x.shape
    assert pooled[0, 0, 0, 0] == (0 + 2 + 8 + 10) / 4
    assert pooled[0, 0, 3, 3] == 15
    assert DilatedPool2d(2, 2, maximum=True)(x)[0, 0, 0].tolist() == [10, 11, 11, 11]


def test_what_a_network_does_not_take_is_said():
    with pytest.raises(ArgumentError, match="output_stride: got 32; need at most 4, the network's own"):
        timm.create_model("densenet40", output_stride=32)
    with pytest.raises(ArgumentError, match=r"8 is not reached: 'patch_embed.proj' goes from 1 to 16 at once"):
        dilate(timm.create_model("test_vit"), 8)
    with torch.device("meta"):
        fixed = timm.create_model("vit_tiny_patch16_224")
        by_patches = timm.create_model("swin_tiny_patch4_window7_224", dynamic_img_size=True)
    with pytest.raises(ArgumentError, match=r"not run at 128 x 128 .*; take 16, its own, and dynamic_img_size=True"):
        dilate(fixed, 8)
    with pytest.raises(ArgumentError, match="from 4 to 32 go layers that are neither convolutions nor pools; take 32"):
        dilate(by_patches, 16)
    with pytest.raises(ArgumentError, match="output_stride: got 0; need at least 1"):
        timm.create_model("dynet_mobile_100", output_stride=0)


def test_strides_that_are_kept():
    net = timm.create_model("dynet_mobile_100", output_stride=16, device="meta")
    convs = [m for m in net.modules() if hasattr(m, "dilation") and not isinstance(m, nn.MaxPool2d)]
    assert [conv.stride for conv in convs].count((2, 2)) == 4
    assert {conv.dilation for conv in convs if max(conv.kernel_size) > 1} == {(1, 1), (2, 2)}
