"""dynamic_conv2d and mix_kernels: one formula over depthwise, pointwise, dense and grouped convolutions."""

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from support.backends import able
from support.rounding import excess_of_bank
from torch import Tensor

import ops
from ops import reference

BATCH, KERNELS = 3, 4


@dataclass(frozen=True)
class Form:
    """One form of convolution and its geometry."""

    name: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    groups: int = 1
    geometry: dict = field(default_factory=dict)
    channels_last: bool = False


FORMS = [
    Form("depthwise", 6, 6, (3, 3), 6, {"padding": 1}),
    Form("depthwise_stride_2_channels_last", 6, 6, (3, 3), 6, {"padding": 1, "stride": 2}, channels_last=True),
    Form("depthwise_same", 6, 6, (5, 3), 6, {"padding": "same", "dilation": (1, 2)}),
    Form("depthwise_with_two_outputs_per_channel", 3, 6, (3, 3), 3, {"padding": 1}),
    Form("pointwise", 5, 8, (1, 1)),
    Form("pointwise_channels_last", 5, 8, (1, 1), channels_last=True),
    Form("pointwise_stride_pair_padded", 5, 8, (1, 1), 1, {"stride": (1, 2), "padding": (2, 1)}),
    Form("pointwise_stride_2_channels_last", 5, 8, (1, 1), 1, {"stride": 2, "padding": "valid"}, channels_last=True),
    Form("pointwise_grouped", 6, 4, (1, 1), 2),
    Form("pointwise_depthwise", 6, 6, (1, 1), 6),
    Form("pointwise_one_channel", 1, 1, (1, 1)),
    Form("dense", 5, 4, (3, 3), 1, {"padding": 1}),
    Form("dense_same_channels_last", 5, 4, (3, 5), 1, {"padding": "same"}, channels_last=True),
    Form("dense_stride_2_dilation_2", 5, 4, (3, 3), 1, {"stride": 2, "dilation": 2, "padding": 2}),
    Form("dense_even_kernel_valid", 5, 4, (2, 2), 1, {"padding": "valid"}),
    Form("grouped", 6, 9, (3, 3), 3, {"padding": 1}),
    Form("grouped_stride_2_channels_last", 6, 4, (3, 3), 2, {"padding": 1, "stride": 2}, channels_last=True),
]

forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
plain_forms = pytest.mark.parametrize(
    "form", [f for f in FORMS if f.name in ("depthwise", "pointwise", "dense")], ids=lambda form: form.name
)
per_channel = pytest.mark.parametrize("per_channel", [False, True], ids=["per_kernel", "per_channel"])
both_mixings = pytest.mark.parametrize("mixing", ["kernels", "features"])
all_mixings = pytest.mark.parametrize("mixing", ["auto", "kernels", "features"])


def arguments(form: Form, per_channel: bool, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Draw the tensor arguments of ``dynamic_conv2d``."""
    x = torch.randn(BATCH, form.in_channels, 9, 8, dtype=dtype)
    shape = (BATCH, KERNELS, form.out_channels) if per_channel else (BATCH, KERNELS)
    return {
        "x": x.contiguous(memory_format=torch.channels_last) if form.channels_last else x,
        "weight": torch.randn(KERNELS, form.out_channels, form.in_channels // form.groups, *form.kernel, dtype=dtype),
        "attention": torch.rand(shape, dtype=dtype),
        "bias": torch.randn(KERNELS, form.out_channels, dtype=dtype),
    }


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no_bias"])
@all_mixings
@per_channel
@forms
def test_output_and_gradients_match_the_definition(form, per_channel, mixing, biased):
    tensors = arguments(form, per_channel)
    if not biased:
        del tensors["bias"]
    exact = {name: t.double().requires_grad_() for name, t in tensors.items()}
    tensors = {name: t.requires_grad_() for name, t in tensors.items()}
    exact_y = reference.dynamic_conv2d(**exact, groups=form.groups, **form.geometry)
    gradient = torch.randn(exact_y.shape)
    wanted = torch.autograd.grad(exact_y, tuple(exact.values()), gradient.double())
    depthwise = form.in_channels == form.out_channels == form.groups
    by_kernels = "dynamic_depthwise" if depthwise else "per_sample_conv2d"
    backends = able("feature_mixing" if mixing == "features" else by_kernels)
    for backend in ("auto", *backends):
        with torch.compiler.set_stance("force_eager"):  # what Inductor makes of it has tests of its own
            y = ops.dynamic_conv2d(**tensors, groups=form.groups, mixing=mixing, backend=backend, **form.geometry)
            found = torch.autograd.grad(y, tuple(tensors.values()), gradient)
        for name, got, want in zip(["output", *tensors], (y, *found), (exact_y, *wanted)):
            assert got.shape == want.shape, (backend, name)
            assert (got - want).abs().max() <= 1e-5 * want.abs().max(), (backend, name)


@pytest.mark.parametrize("batch", [1, BATCH])
@both_mixings
@forms
def test_output_keeps_the_memory_format(form, mixing, batch):
    tensors = arguments(form, True)
    tensors["x"], tensors["attention"] = tensors["x"][:batch], tensors["attention"][:batch]
    y = ops.dynamic_conv2d(**tensors, groups=form.groups, mixing=mixing, **form.geometry)
    assert y.is_contiguous(memory_format=torch.channels_last if form.channels_last else torch.contiguous_format)


@both_mixings
@pytest.mark.parametrize(
    ("in_channels", "out_channels", "kernel", "groups"),
    [(2, 2, (2, 3), 2), (3, 2, (1, 1), 1), (2, 4, (1, 2), 2)],
    ids=["depthwise", "pointwise", "grouped"],
)
def test_first_and_second_derivatives_are_right(in_channels, out_channels, kernel, groups, mixing):
    double = {"dtype": torch.float64, "requires_grad": True}
    x = torch.randn(2, in_channels, 3, 4, **double)
    weight = torch.randn(2, out_channels, in_channels // groups, *kernel, **double)
    attention, bias = torch.rand(2, 2, out_channels, **double), torch.randn(2, out_channels, **double)

    def call(*tensors):
        return ops.dynamic_conv2d(*tensors, stride=(1, 2), padding=(0, 1), groups=groups, mixing=mixing)

    assert torch.autograd.gradcheck(call, (x, weight, attention, bias))
    assert torch.autograd.gradgradcheck(call, (x, weight, attention, bias))


@both_mixings
@per_channel
@forms
def test_mixing_kernels_equals_mixing_the_outputs_of_static_convolutions(form, per_channel, mixing):
    """Dynamic Convolution's two implementations; for per-channel attention, DyNet's Eq. 1 and Eq. 2."""
    tensors = arguments(form, per_channel, torch.float64)
    attention = tensors["attention"].view(BATCH, KERNELS, -1, 1, 1)
    outputs = [
        attention[:, k] * F.conv2d(tensors["x"], weight, bias, groups=form.groups, **form.geometry)
        for k, (weight, bias) in enumerate(zip(tensors["weight"], tensors["bias"]))
    ]
    y = ops.dynamic_conv2d(**tensors, groups=form.groups, mixing=mixing, **form.geometry)
    torch.testing.assert_close(y, sum(outputs))


@both_mixings
@forms
def test_one_kernel_with_weight_one_is_a_static_convolution(form, mixing):
    tensors = arguments(form, False, torch.float64)
    weight, bias = tensors["weight"][:1], tensors["bias"][:1]
    attention = torch.ones(BATCH, 1, dtype=torch.float64)
    y = ops.dynamic_conv2d(tensors["x"], weight, attention, bias, groups=form.groups, mixing=mixing, **form.geometry)
    static = F.conv2d(tensors["x"], weight[0], bias[0], groups=form.groups, **form.geometry)
    torch.testing.assert_close(y, static)


def test_equal_attention_of_all_channels_is_the_shared_attention():
    tensors = arguments(FORMS[0], False, torch.float64)
    shared = ops.mix_kernels(tensors["weight"], tensors["attention"])
    spread = ops.mix_kernels(tensors["weight"], tensors["attention"].unsqueeze(-1).expand(-1, -1, 6))
    torch.testing.assert_close(shared, spread)


@pytest.mark.parametrize("needs_grad", [False, True], ids=["no_grad", "grad"])
@per_channel
@pytest.mark.parametrize("shape", [(KERNELS, 6), (KERNELS, 6, 2, 3, 5)], ids=["bias", "weight"])
def test_mix_kernels_matches_the_definition(shape, per_channel, needs_grad):
    bank = torch.randn(shape, dtype=torch.float64, requires_grad=needs_grad)
    attention = torch.rand((BATCH, KERNELS, 6) if per_channel else (BATCH, KERNELS), dtype=torch.float64)
    torch.testing.assert_close(ops.mix_kernels(bank, attention), reference.mix_kernels(bank, attention))


@both_mixings
@plain_forms
def test_autocast_casts_to_its_dtype(form, mixing):
    tensors = {name: t.requires_grad_() for name, t in arguments(form, True).items()}
    with torch.autocast("cpu", torch.bfloat16):
        y = ops.dynamic_conv2d(**tensors, groups=form.groups, mixing=mixing, **form.geometry)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in tensors.values())
    want = ops.dynamic_conv2d(**tensors, groups=form.groups, **form.geometry)
    # Inputs, mixed kernels, sum and bias are each rounded to 8 bits; what PyTorch's own convolution adds to that
    # depends on the processor.
    x, bank = (tensors[name].detach().bfloat16() for name in ("x", "weight"))
    own = excess_of_bank(x, bank, groups=form.groups, **form.geometry)
    assert (y.float() - want).abs().max() <= 4 * 2**-8 * want.abs().max() + 4 * own


def test_autocast_casts_depthwise_conv2d():
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.depthwise_conv2d(torch.randn(2, 4, 5, 5), torch.randn(2, 4, 3, 3)).dtype == torch.bfloat16


@plain_forms
def test_autocast_leaves_float64_alone(form):
    tensors = arguments(form, True, torch.float64)
    want = ops.dynamic_conv2d(**tensors, groups=form.groups, **form.geometry)
    with torch.autocast("cpu", torch.bfloat16):
        y = ops.dynamic_conv2d(**tensors, groups=form.groups, **form.geometry)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, want)


def test_an_input_of_the_autocast_dtype_meets_float32_weights():
    """What the layers of a network see under autocast."""
    tensors = arguments(FORMS[0], True)
    with torch.autocast("cpu", torch.bfloat16):
        y = ops.dynamic_conv2d(tensors["x"].bfloat16(), tensors["weight"], tensors["attention"], groups=6)
    assert y.dtype == torch.bfloat16
