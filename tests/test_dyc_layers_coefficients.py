"""Layers that share a block's coefficients: what they compute, what they mix by mode, what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dyc
import ops

# C_in, C_out, kernel, groups: those of Dy-mobile, Dy-shuffle and Dy-ResNet
FORMS = {
    "pointwise": (12, 18, 1, 1),
    "six_per_group": (12, 12, 3, 2),
    "depthwise": (12, 12, 3, 12),
    "dense": (12, 8, 3, 1),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def shared(form, num_kernels: int = 6, mixing: str = "mode") -> dyc.DynamicConv2d:
    in_channels, out_channels, kernel, groups = form
    return dyc.DynamicConv2d(
        in_channels,
        out_channels,
        kernel,
        padding=kernel // 2,
        groups=groups,
        num_kernels=num_kernels,
        attention=None,
        mixing=mixing,
    ).double()


@pytest.mark.parametrize("num_kernels", [1, 2, 4, 6])
@forms
def test_mixed_maps_are_the_maps_of_mixed_kernels(form, num_kernels):
    """Eq. 2 and Eq. 1, each written out: every kernel of an output channel reads that channel's group."""
    layer = shared(form, num_kernels)
    x, a = torch.randn(3, 12, 7, 5).double(), torch.rand(3, num_kernels, form[1]).double()
    nn.init.normal_(layer.bias)
    window = {"padding": form[2] // 2, "groups": form[3]}
    maps = [F.conv2d(x, w, b, **window) for w, b in zip(layer.weight, layer.bias)]
    by_maps = sum(a[:, k, :, None, None] * maps[k] for k in range(num_kernels))
    by_kernels = torch.cat(
        [
            F.conv2d(
                x[n : n + 1], torch.einsum("ko,koihw->oihw", a[n], layer.weight), (a[n] * layer.bias).sum(0), **window
            )
            for n in range(3)
        ]
    )
    torch.testing.assert_close(by_maps, by_kernels)
    torch.testing.assert_close(layer.train()(x, a), by_maps)
    torch.testing.assert_close(layer.eval()(x, a), by_maps)


@forms
def test_one_kernel_is_channel_attention(form):
    layer = shared(form, 1)
    x, a = torch.randn(2, 12, 6, 6).double(), torch.rand(2, 1, form[1]).double()
    static = F.conv2d(x, layer.weight[0], None, padding=form[2] // 2, groups=form[3])
    torch.testing.assert_close(layer(x, a), a.transpose(1, 2)[..., None] * static)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_says_what_is_mixed(training, eager_calls):
    layer = shared(FORMS["dense"]).train(training)
    layer(torch.randn(2, 12, 5, 5).double(), torch.rand(2, 6, 8).double())
    assert eager_calls == ["feature_mixing" if training else "per_sample_conv2d"]


def test_a_backend_that_mixes_kernels_alone_trains_layers_that_go_by_their_mode(backend_registry):
    """It mixes no feature maps, so they mix kernels in training too; it is not an error of the user's."""
    eager = {status.name: status for status in ops.backends()}["eager"]
    assert "feature_mixing" in eager.operators
    depthwise = ops.Implementation(lambda x, w, window: ops.depthwise_conv2d(x, w, **window._asdict(), backend="eager"))
    ops.register_backend(ops.Backend("kernels_alone", {"depthwise_conv2d": depthwise}))
    layer = dyc.DynamicConv2d(8, 8, 3, padding=1, groups=8, attention=None, mixing="mode")
    x, a = torch.randn(2, 8, 5, 5), torch.rand(2, 4, 8)
    by_maps = layer(x, a)
    assert dyc.set_backend(layer, "kernels_alone").layers == ("",)
    torch.testing.assert_close(layer(x, a), by_maps)


def test_set_mixing_sets_every_dynamic_layer():
    model = nn.Sequential(shared(FORMS["dense"]), nn.Conv2d(8, 8, 1), dyc.DynamicConv2d(8, 8, 1))
    assert dyc.set_mixing(model, "features") == 2
    assert [layer.mixing for _, layer in dyc.iter_dynamic(model)] == ["features", "features"]
    assert "mixing='features'" in repr(model[0])
    with pytest.raises(ops.ArgumentError, match=r"mixing: got 'mod' \(did you mean 'mode'\?\); need one of 'auto'"):
        dyc.set_mixing(model, "mod")


def test_a_layer_has_its_own_branch_or_is_given_attention():
    x, a = torch.randn(2, 12, 5, 5).double(), torch.rand(2, 6, 8).double()
    with pytest.raises(ops.ArgumentError, match=r"attention: must be given as \(B, K\) or \(B, K, C_out\)"):
        shared(FORMS["dense"])(x)
    with pytest.raises(ops.ArgumentError, match="attention: cannot be given, as the layer has a branch of its own"):
        dyc.DynamicConv2d(12, 8, 3, num_kernels=6).double()(x, a)
    with pytest.raises(ops.ArgumentError, match="attention_kwargs: have no meaning without attention; leave them out"):
        dyc.DynamicConv2d(12, 8, 3, attention=None, attention_kwargs={"rd_ratio": 0.5})
    with pytest.raises(ops.ArgumentError, match="attention: got None; need a name or a factory"):
        dyc.make_dynamic(nn.Sequential(nn.Conv2d(12, 12, 3, groups=12)), None)


class TestBlockCoefficients:
    @pytest.mark.parametrize("hidden", [None, 3])
    def test_they_are_the_sigmoid_of_linear_layers_on_the_mean(self, hidden):
        module = dyc.BlockCoefficients(12, (8, 18), 4, hidden)
        nn.init.normal_(module.fc2.bias)
        x = torch.randn(2, 12, 6, 5)
        z = F.adaptive_avg_pool2d(x, 1).flatten(1)
        if hidden:
            z = F.linear(z, module.fc1.weight, module.fc1.bias).clamp(min=0)
        want = torch.sigmoid(F.linear(z, module.fc2.weight, module.fc2.bias))
        first, second = module(x)
        assert (first.shape, second.shape) == ((2, 4, 8), (2, 4, 18))
        torch.testing.assert_close(torch.cat((first.flatten(1), second.flatten(1)), 1), want)

    def test_they_start_near_a_half(self):
        module = dyc.BlockCoefficients(96, (96, 96))
        assert torch.equal(module.fc2.bias, torch.zeros(1152))
        (first, _) = module(torch.randn(4, 96, 7, 7).relu())
        assert (first - 0.5).abs().max() < 0.2
        assert first.std(0).min() > 0, "the coefficients ignore their input"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"out_channels": ()}, r"out_channels: got \(\); need the channels of at least one convolution"),
            ({"out_channels": (8, 0)}, "out_channels: got 0; need at least 1"),
            ({"out_channels": 8}, "out_channels: got 8; need the channels"),
            ({"num_kernels": 0}, "num_kernels: got 0; need at least 1"),
            ({"hidden": 0}, "hidden: got 0; need at least 1"),
        ],
        ids=["none", "empty", "number", "num_kernels", "hidden"],
    )
    def test_arguments_that_cannot_be_used(self, changes, message):
        with pytest.raises(ops.ArgumentError, match=message):
            dyc.BlockCoefficients(**{"in_channels": 8, "out_channels": (8,), **changes})
