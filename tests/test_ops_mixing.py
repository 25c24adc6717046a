"""Mixing kernels or feature maps: the rule of "auto", both names under torch.compile, in half precision, in a layer."""

from itertools import product

import pytest
import torch
from fixtures.models import marked
from support.rounding import excess_of_bank
from torch._dynamo.testing import CompileCounterWithBackend

import dyc
import ops
from ops import mixing as mixing_module
from ops import reference

MIXINGS = pytest.mark.parametrize("mixing", ["auto", "kernels", "features"])
# C_in, C_out, kernel, groups
FORMS = {"depthwise": (6, 6, 3, 6), "pointwise": (6, 8, 1, 1), "dense": (6, 4, 3, 1), "grouped": (6, 4, 3, 2)}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])


def arguments(form, batch=2, size=8, dtype=torch.float32, requires_grad=False):
    in_channels, out_channels, kernel, groups = form
    tensors = (
        torch.randn(batch, in_channels, size, size),
        torch.randn(4, out_channels, in_channels // groups, kernel, kernel),
        torch.rand(batch, 4, out_channels),
        torch.randn(4, out_channels),
    )
    return tuple(t.to(dtype).requires_grad_(requires_grad) for t in tensors), {"groups": groups, "padding": kernel // 2}


# What was measured: see the docstring of the rule. in_channels, out_channels, kernel, groups, size, batch, layout
CHOICES = {
    "pooled": ((64, 256, 1, 1), 1, 8, "nchw", "features"),
    "pooled_one_sample": ((64, 256, 1, 1), 1, 1, "nchw", "features"),
    "pointwise_small_map": ((160, 960, 1, 1), 4, 32, "channels_last", "features"),
    "pointwise_small_map_nchw": ((160, 960, 1, 1), 4, 32, "nchw", "kernels"),
    "pointwise_small_map_one_sample": ((160, 960, 1, 1), 4, 1, "channels_last", "kernels"),
    "pointwise_few_taps": ((16, 64, 1, 1), 4, 32, "channels_last", "kernels"),
    "pointwise_large_map": ((16, 96, 1, 1), 32, 32, "channels_last", "kernels"),
    "dense_small_map": ((128, 128, 3, 1), 4, 8, "nchw", "features"),
    "dense_large_map": ((64, 64, 3, 1), 32, 32, "nchw", "kernels"),
    "grouped_small_map": ((128, 128, 3, 4), 4, 32, "channels_last", "features"),
    "depthwise": ((64, 64, 3, 64), 1, 8, "nchw", "kernels"),
}


@pytest.mark.parametrize(("form", "size", "batch", "layout", "cheaper"), CHOICES.values(), ids=CHOICES)
def test_the_rule_takes_what_was_measured_to_be_cheaper(form, size, batch, layout, cheaper):
    (x, weight, *_), geometry = arguments(form, batch, size)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    window = ops.Window(padding=(geometry["padding"],) * 2)
    assert mixing_module.cheaper_mixing(x, weight, window, geometry["groups"]) == cheaper


@pytest.mark.parametrize("batch", [2, 128])
def test_the_rule_counts_output_pixels_and_no_batch(batch):
    weight = torch.empty(4, 32, 64, 3, 3)
    x = torch.empty(batch, 64, 8, 8)
    assert mixing_module.cheaper_mixing(x, weight, ops.Window(padding=(1, 1)), 1) == "kernels"
    assert mixing_module.cheaper_mixing(x, weight, ops.Window((2, 2), (1, 1)), 1) == "features"


# Each is compiled for seconds: by default every way and size has its turn, then every form.
USUAL = {("pointwise", "auto", 1), ("dense", "features", 8)}
EXHAUSTIVE = {("depthwise", "auto", 8), ("grouped", "features", 8)}
WAYS = [(form, *way) for form, way in product(FORMS, (("auto", 1), ("auto", 8), ("features", 8)))]


@pytest.mark.parametrize(("form", "mixing", "size"), marked(WAYS, USUAL, EXHAUSTIVE))
def test_compiled_graphs_serve_every_batch_size(form, mixing, size):
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")

    def call(*tensors, **geometry):
        return ops.dynamic_conv2d(*tensors, mixing=mixing, **geometry)

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 20, 64):
        tensors, geometry = arguments(FORMS[form], batch, size, requires_grad=True)
        y, wanted = compiled(*tensors, **geometry), call(*tensors, **geometry)
        gradient = torch.randn_like(wanted)
        found = torch.autograd.grad(y, tensors, gradient)
        torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(found, torch.autograd.grad(wanted, tensors, gradient), rtol=1e-4, atol=1e-3)
    # PyTorch traces a plain convolution once for batches below 16 and once for the others.
    assert counter.frame_count <= 2


@pytest.mark.parametrize("mixing", ["kernels", "features"])
def test_compiles_without_gradients_for_every_batch_size(mixing):
    """On maps as large as those that are convolved one by one outside a compiled graph."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")

    def call(x, *others):
        return ops.dynamic_conv2d(x, *others, mixing=mixing)

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 20):
        (x, *others), _ = arguments(FORMS["dense"], batch, 33)
        x = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(compiled(x, *others), call(x, *others), rtol=1e-4, atol=1e-3)
    assert counter.frame_count <= 2


@layouts
@MIXINGS
@forms
def test_bfloat16_is_as_close_as_its_precision_allows(form, mixing, layout):
    tensors, geometry = arguments(form, dtype=torch.bfloat16)
    x, *others = tensors
    y = ops.dynamic_conv2d(x.contiguous(memory_format=layout), *others, mixing=mixing, **geometry)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=layout)
    wanted = reference.dynamic_conv2d(*tensors, **geometry)
    # Mixed kernels or maps, their sum and the bias are each rounded to 8 bits; what PyTorch's own convolution adds to
    # that depends on the processor, and counts for each of four kernels.
    limit = 4 * 2**-8 * wanted.abs().max() + 4 * excess_of_bank(x, tensors[1], **geometry)
    assert (y - wanted).abs().max() <= limit


@layouts
@forms
@pytest.mark.parametrize("size", [1, 8, 33])  # a single pixel, small maps, and maps large enough to go one by one
@pytest.mark.parametrize("batch", [1, 3])
def test_both_ways_agree_without_gradients(form, batch, size, layout):
    tensors, geometry = arguments(form, batch, size, dtype=torch.float64)
    x, *others = tensors
    x = x.contiguous(memory_format=layout)
    kernels, features = (ops.dynamic_conv2d(x, *others, mixing=m, **geometry) for m in ("kernels", "features"))
    torch.testing.assert_close(kernels, features)
    torch.testing.assert_close(kernels, reference.dynamic_conv2d(*tensors, **geometry))


def test_feature_maps_are_mixed_by_backends_that_can():
    tensors, geometry = arguments(FORMS["depthwise"])
    with pytest.raises(ops.BackendUnavailable, match=r"got no 'feature_mixing' .* 'compile'; need 'eager'"):
        ops.dynamic_conv2d(*tensors, mixing="features", backend="compile", **geometry)
    with ops.use_backend("compile"):  # speaks for the operators that it has
        y = ops.dynamic_conv2d(*tensors, mixing="features", **geometry)
    assert torch.equal(y, ops.dynamic_conv2d(*tensors, mixing="features", backend="eager", **geometry))
    torch.testing.assert_close(y, ops.dynamic_conv2d(*tensors, **geometry), rtol=1e-4, atol=1e-4)


BOTH_WAYS = pytest.mark.parametrize(
    ("way", "operator"), [("kernels", "per_sample_conv2d"), ("features", "feature_mixing")]
)


@BOTH_WAYS
def test_a_layer_passes_its_choice_on(way, operator, eager_calls):
    layer = dyc.DynamicConv2d(8, 16, 3, padding=1, mixing=way)
    assert layer(torch.randn(2, 8, 5, 5)).shape == (2, 16, 5, 5)
    assert eager_calls == [operator]


@BOTH_WAYS
def test_auto_goes_the_way_that_the_rule_chose(way, operator, eager_calls):
    size = {"kernels": 32, "features": 1}[way]
    tensors, geometry = arguments((64, 16, 1, 1), 2, size)
    assert ops.dynamic_conv2d(*tensors, **geometry).shape == (2, 16, size, size)
    assert eager_calls == [operator]


@pytest.mark.usefixtures("backend_registry")
def test_auto_mixes_kernels_where_the_named_backend_mixes_no_features():
    run = ops.Implementation(lambda x, kernels, window, groups: x.new_zeros(2, 16, 1, 1))
    ops.register_backend(ops.Backend("dense_alone", {"per_sample_conv2d": run}))
    tensors, geometry = arguments((64, 16, 1, 1), 2, 1)
    y = ops.dynamic_conv2d(*tensors[:3], backend="dense_alone", **geometry)  # no bias, which PyTorch would add
    assert torch.equal(y, torch.zeros(2, 16, 1, 1))


def test_a_program_is_not_limited_to_sizes_of_the_same_choice():
    class Mixed(torch.nn.Module):
        def forward(self, x, weight, attention):
            return ops.dynamic_conv2d(x, weight, attention)

    def arguments(batch, size):
        return torch.randn(batch, 64, size, size), torch.randn(2, 8, 64, 1, 1), torch.rand(batch, 2)

    window = ops.Window()
    choices = [mixing_module.cheaper_mixing(*arguments(2, size)[:2], window, 1) for size in (3, 9)]
    assert choices == ["features", "kernels"]
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        Mixed(), arguments(2, 3), dynamic_shapes=({0: auto, 2: auto, 3: auto}, None, {0: auto}), strict=False
    ).module()
    for batch, size in ((2, 3), (1, 3), (3, 9)):
        given = arguments(batch, size)
        torch.testing.assert_close(program(*given), Mixed()(*given), rtol=1e-4, atol=1e-4)
