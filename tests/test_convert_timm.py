"""make_dynamic on one small network of each of timm's convolutional families, and on what it refuses there."""

import copy
import warnings

import pytest
import timm
import torch
from timm.layers import Conv2dSame, ScaledStdConv2d, StdConv2d
from timm.layers.cond_conv2d import CondConv2d
from torch import nn
from torch.nn.utils import parametrizations, prune

import dyc
import ops

ONE_EACH = {"layers": (1, 1, 1, 1)}

# Name: arguments that make it cheaper.
NETWORKS = {
    "cs3darknet_focus_s": {},
    "cspnext_tiny": {},
    "densenet121": {"block_config": (1, 2, 1, 1)},
    "dla46x_c": {},
    "edgenext_xx_small": {},
    "efficientvit_b0": {},
    "efficientvit_m0": {},
    "ese_vovnet19b_slim_dw": {},
    "fasternet_t0": {},
    "fastvit_t8": ONE_EACH,
    "ghostnet_050": {},
    "ghostnetv2_100": {},
    "ghostnetv3_050": {},
    "hgnetv2_b0": {},
    "hrnet_w18_small": {},
    "iformer_t": {},
    "inception_next_atto": {},
    "lcnet_035": {},
    "lcnetv2_small": {},
    "legacy_seresnet18": {},
    "mixnet_s": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "mobileone_s1": {},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "poolformerv2_s12": {},
    "pvt_v2_b0": {},
    "regnetx_002": {},
    "regnety_002": {},
    "regnetz_005": {},
    "repghostnet_050": {},
    "repvgg_a0": {},
    "repvit_m0_9": {},
    "res2net50_14w_8s": ONE_EACH,
    "resnest14d": {},
    "resnet26d": ONE_EACH,
    "resnext50_32x4d": ONE_EACH,
    "rexnet_100": {},
    "seresnet50": ONE_EACH,
    "shvit_s1": {},
    "skresnet18": ONE_EACH,
    "starnet_s050": {},
    "test_convnext": {},
    "test_convnext2": {},
    "test_efficientnet": {},
    "test_mambaout": {},
    "tf_efficientnetv2_b0": {},
    "tf_mobilenetv3_small_minimal_100": {},
    "tinynet_e": {},
}


def lively(name: str, **kwargs) -> nn.Module:
    """Build a model in evaluation mode whose every branch counts: some norms and scales start at (nearly) zero."""
    model = timm.create_model(name, num_classes=10, **kwargs).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(0.3, 0.9)
                module.running_var.uniform_(0.5, 1.5)
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1] in ("gamma", "layer_scale"):
                parameter.uniform_(0.5, 1.5)
            elif name.endswith(".bias") and not parameter.any():
                parameter.normal_(std=0.1)
    return model


def same(got: torch.Tensor, want: torch.Tensor) -> bool:
    return bool((got - want).abs().max() <= 1e-5 * want.abs().max())


def convert(model: nn.Module, where, **kwargs) -> int:
    """Make layers dynamic and return how many they are.

    The temperature is high: features of a network that was never trained can be large, and a softmax of large logits
    has no gradient.
    """
    before = len(dyc.dynamic_layers(model))
    dyc.make_dynamic(model, where=where, num_kernels=2, temperature=100.0, **kwargs)
    return len(dyc.dynamic_layers(model)) - before


def without_gradient(model: nn.Module, x: torch.Tensor) -> set[str]:
    """Return the parameters that a backward pass of ``model`` does not reach."""
    with torch.no_grad():
        model(x)  # some attention keeps its biases from the first pass on
    model.zero_grad(set_to_none=True)
    model(x).square().sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_every_family(name):
    kwargs = NETWORKS[name]
    model = lively(name, **kwargs)
    depthwise = sum(
        m.groups == m.in_channels == m.out_channels > 1 for m in model.modules() if isinstance(m, nn.Conv2d)
    )
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        want = model(x)
        if depthwise:
            assert convert(model, "depthwise") == depthwise
            assert same(model(x), want)
        assert convert(model, "all_but_stem") > 0
        assert same(model(x), want)
    static = [row.name for row in dyc.dynamic_layers(model, static=True) if row.static]
    first = model.pretrained_cfg["first_conv"]
    assert static == ([first] if isinstance(first, str) else list(first))
    with torch.no_grad():  # equal kernels leave the attention without a gradient
        for _, layer in dyc.iter_dynamic(model):
            layer.weight.mul_(torch.empty_like(layer.weight).uniform_(0.8, 1.2))
        changed = model(x)
    assert not same(changed, want), "the layers are not in use"
    missing = without_gradient(model, x)
    assert not missing or missing <= without_gradient(timm.create_model(name, num_classes=10, **kwargs).eval(), x)
    for _, layer in dyc.iter_dynamic(model):
        assert all(p.grad.isfinite().all() for p in layer.parameters())
        assert layer.weight.grad.any(), "no gradient in the bank"
        assert layer.attention.fc2.bias.grad.any(), "no gradient in the attention"
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(x), model(x))


class TestSame:
    """Zero padding that depends on the input's size."""

    @pytest.mark.parametrize("size", [(1, 1), (7, 8), (8, 7), (13, 16)])
    @pytest.mark.parametrize(
        ("kernel", "stride", "dilation", "groups"),
        [(3, 2, 1, 6), (5, 2, 1, 1), (4, 1, 1, 6), ((3, 5), (2, 1), 1, 6), (3, 2, 2, 2), (1, 2, 1, 1), (3, 3, 1, 6)],
    )
    @pytest.mark.parametrize("attention", ["dy", "dyc"])
    def test_it_is_that_of_timm(self, attention, kernel, stride, dilation, groups, size):
        conv = Conv2dSame(6, 6, kernel, stride, dilation=dilation, groups=groups)
        model = dyc.make_dynamic(nn.Sequential(conv), attention, where="0", temperature=1.0)
        assert type(model[0]) is dyc.DynamicConv2dSame
        x = torch.randn(2, 6, *size)
        torch.testing.assert_close(model(x), conv(x))

    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
    @pytest.mark.parametrize("kernel", [2, 3, (2, 3)])
    def test_it_is_that_of_pytorch(self, kernel):
        conv = nn.Conv2d(4, 4, kernel, padding="same", dilation=(1, 3))
        model = dyc.make_dynamic(nn.Sequential(conv), "dy", where="0")
        x = torch.randn(2, 4, 9, 6)
        torch.testing.assert_close(model(x), conv(x))

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_the_attention_does_not_see_it(self, memory_format):
        layer = dyc.DynamicConv2dSame(4, 4, 3, stride=2, groups=4, attention="dyc", temperature=0.1)
        x = torch.randn(2, 4, 8, 8).contiguous(memory_format=memory_format)
        kernels = ops.mix_kernels(layer.weight, layer.attention(x)).squeeze(2)
        bias = ops.mix_kernels(layer.bias, layer.attention(x))[..., None, None]
        want = ops.depthwise_conv2d(nn.functional.pad(x, (0, 1, 0, 1)), kernels, stride=2) + bias
        y = layer(x)
        torch.testing.assert_close(y, want)
        assert y.is_contiguous(memory_format=memory_format)


class Renamed(nn.Conv2d):
    """Another name and another way to be built."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)


class Masked(nn.Conv2d):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("mask", torch.ones(1))


class Scaled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


def hooked() -> nn.Conv2d:
    conv = nn.Conv2d(4, 4, 3)
    conv.register_forward_hook(lambda module, x, y: 2 * y)
    return conv


def patched() -> nn.Conv2d:
    conv = nn.Conv2d(4, 4, 3)
    conv.forward = lambda x: x
    return conv


UNSUPPORTED = {
    "its class StdConv2d computes more than nn.Conv2d": lambda: StdConv2d(4, 4, 3),
    "its class ScaledStdConv2d computes more than nn.Conv2d": lambda: ScaledStdConv2d(4, 4, 3),
    "its class Scaled computes more than nn.Conv2d": lambda: Scaled(4, 4, 3),
    "its class CondConv2d is not an nn.Conv2d": lambda: CondConv2d(4, 4, 3),
    "its class ConvTranspose2d is not an nn.Conv2d": lambda: nn.ConvTranspose2d(4, 4, 3),
    "weight is computed by torch.nn.utils.parametrize": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
    "its weight or bias is computed elsewhere": lambda: prune.l1_unstructured(nn.Conv2d(4, 4, 3), "weight", 0.5),
    "it holds more than weight and bias: mask": lambda: Masked(4, 4, 3),
    "its weight is of type UninitializedParameter": lambda: nn.LazyConv2d(4, 3),
    "it has hooks": hooked,
    "its forward was replaced": patched,
    "its padding_mode 'reflect' is not 'zeros'": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
}


class TestWhatCannotBeConverted:
    @pytest.mark.parametrize("reason", UNSUPPORTED)
    def test_it_is_named_with_the_reason(self, reason):
        def build() -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 4, 3), UNSUPPORTED[reason](), nn.Conv2d(4, 4, 3))

        model = build()
        with pytest.raises(ops.ArgumentError, match=f'where: got 1 layers .*1: {reason}.*unsupported="warn"'):
            dyc.make_dynamic(model, where="all_but_stem")
        assert not dyc.dynamic_layers(model)
        with pytest.warns(UserWarning, match=f"1: {reason}") as warned:
            dyc.make_dynamic(model, where="all_but_stem", unsupported="warn")
        assert len(warned) == 1
        assert warned[0].filename == __file__
        assert {row.name: row.static for row in dyc.dynamic_layers(model, static=True)}["2"] == ""
        assert reason in dyc.dynamic_layers(model, static=True)[1].static

    def test_none_of_them_can_be(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), hooked())
        with pytest.raises(ops.ArgumentError, match=r"1: it has hooks.*need others only$"):
            dyc.make_dynamic(model, where="all_but_stem", unsupported="warn")

    def test_shared_parameters(self):
        model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
        model[2].weight = model[1].weight
        with pytest.raises(ops.ArgumentError, match=r"1: it shares parameters with 2; 2: it shares parameters with 1"):
            dyc.make_dynamic(model, where="all_but_stem")

    def test_a_network_with_weight_standardisation(self):
        model = lively("test_nfnet")
        x = torch.randn(1, 3, 64, 64)
        want = model(x)
        with pytest.warns(UserWarning, match=r"24 layers .*ScaledStdConv2d") as warned:
            assert convert(model, "all_but_stem", unsupported="warn") == 8
        assert len(warned) == 1
        assert same(model(x), want)

    def test_unsupported_is_checked(self):
        with pytest.raises(ops.ArgumentError, match=r"unsupported: got 'warm' .did you mean 'warn'"):
            dyc.make_dynamic(nn.Sequential(nn.Conv2d(3, 3, 3)), where="0", unsupported="warm")


def test_a_subclass_that_only_bears_another_name():
    conv = Renamed(4)
    model = dyc.make_dynamic(nn.Sequential(conv), "dy", where="0")
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(model(x), conv(x))


def test_a_layer_with_two_names_stays_one_layer():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), conv, nn.ReLU(), conv)
    x = torch.randn(2, 3, 5, 5)
    want = model(x)
    dyc.make_dynamic(model, "dy", where="all_but_stem")
    assert model[1] is model[3]
    torch.testing.assert_close(model(x), want)


class TestReparameterisation:
    """timm folds blocks for inference; those with dynamic layers stay, with a warning."""

    @pytest.mark.parametrize(
        ("name", "where", "kept"),
        [
            (
                "fastvit_t8",
                r"^stages\.3\.",
                {"MobileOneBlock", "RepMixer", "ReparamLargeKernelConv"},
            ),
            ("repvit_m0_9", r"^stages\.2\..*token_mixer", {"ConvNorm", "RepVggDw"}),
            ("repghostnet_050", r"^blocks\.3\.", {"RepGhostModule"}),
        ],
    )
    def test_the_rest_is_folded(self, name, where, kept):
        model = lively(name)
        convert(model, where)
        before = [name for name, _ in dyc.iter_dynamic(model)]
        x = torch.randn(1, 3, 64, 64)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            folded = timm.utils.reparameterize_model(model)
        assert {str(w.message).split()[0] for w in warned if "is not fused" in str(w.message)} == kept
        assert [name for name, _ in dyc.iter_dynamic(folded)] == before
        assert sum(1 for _ in folded.modules()) < sum(1 for _ in model.modules())
        with torch.no_grad():
            assert same(folded(x), model(x))
            for _, layer in dyc.iter_dynamic(folded):
                layer.weight.zero_()  # of the copy, which must have blocks of its own
            assert not same(folded(x), model(x))
