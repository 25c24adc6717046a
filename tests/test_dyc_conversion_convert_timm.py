"""make_dynamic on one small network of each of timm's convolutional families."""

import copy
import warnings

import pytest
import timm
import torch
from torch import nn

import dyc

ONE_EACH = {"layers": (1, 1, 1, 1)}

# Name: arguments that make it cheaper.
NETWORKS = {
    "cs3darknet_focus_s": {},
    "cspnext_tiny": {},
    "densenet121": {"block_config": (1, 2, 1, 1)},
    "dla46x_c": {},
    "edgenext_xx_small": {},
    "efficientnetv2_rw_t": {},
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
    "nextvit_small": {},
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
    "tf_efficientnet_b0": {},
    "tf_efficientnetv2_b0": {},
    "tf_mobilenetv3_small_minimal_100": {},
    "tinynet_e": {},
}

# What these are built of, others that take less time are built of too.
LIKE_OTHERS = {
    *("cspnext_tiny", "efficientnetv2_rw_t", "efficientvit_m0", "ghostnetv2_100", "ghostnetv3_050", "hgnetv2_b0"),
    *("hrnet_w18_small", "iformer_t", "inception_next_atto", "lcnetv2_small", "legacy_seresnet18", "mobilevitv2_050"),
    *("nextvit_small", "poolformerv2_s12", "regnetx_002", "regnetz_005", "repghostnet_050", "res2net50_14w_8s"),
    *("resnext50_32x4d", "rexnet_100", "seresnet50", "tf_efficientnet_b0", "tf_efficientnetv2_b0"),
    *("fastvit_t8", "mixnet_s", "mobileone_s1", "regnety_002", "resnest14d", "resnet26d", "shvit_s1"),
}
# What "all_but_stem" leaves static outside the module of the first convolution: a classifier, and the rest of a stem.
NO_STEM = {"dla46x_c": {"fc"}, "hrnet_w18_small": {"conv2"}}
EACH = [pytest.param(name, marks=pytest.mark.grid if name in LIKE_OTHERS else ()) for name in NETWORKS]


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


@pytest.mark.parametrize("name", EACH)
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
    static = {row.name for row in dyc.dynamic_layers(model, static=True) if row.static}
    first = model.pretrained_cfg["first_conv"]
    first = {first} if isinstance(first, str) else {*first}
    stem = tuple(f"{conv.split('.')[0]}." for conv in first)
    assert static >= first
    assert {conv for conv in static - first if not conv.startswith(stem)} == NO_STEM.get(name, set())
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


def test_a_network_with_weight_standardisation():
    model = lively("test_nfnet")
    x = torch.randn(1, 3, 64, 64)
    want = model(x)
    with pytest.warns(UserWarning, match=r"21 layers .* and 18 more: .*ScaledStdConv2d") as warned:
        assert convert(model, "all_but_stem", unsupported="warn") == 8
    assert len(warned) == 1
    assert same(model(x), want)


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
