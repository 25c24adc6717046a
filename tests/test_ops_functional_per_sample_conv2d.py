"""per_sample_conv2d: given kernels for each sample, against the definition."""

import pytest
import torch
from support.backends import able

import ops
from ops import reference

SHAPES = {
    "depthwise": (8, 8, 8, (3, 3)),
    "pointwise": (8, 6, 1, (1, 1)),
    "dense": (8, 6, 1, (3, 5)),
    "grouped": (8, 12, 4, (3, 1)),
}


@pytest.mark.parametrize("backend", ["auto", *able("per_sample_conv2d")])
@pytest.mark.parametrize(("inputs", "outputs", "groups", "kernel"), SHAPES.values(), ids=SHAPES)
def test_it_convolves_each_sample_with_its_own_kernels(inputs, outputs, groups, kernel, backend):
    window = {"stride": (2, 1), "padding": 1, "groups": groups}
    for batch in (1, 3):
        x = torch.randn(batch, inputs, 7, 6, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(batch, outputs, inputs // groups, *kernel, dtype=torch.float64, requires_grad=True)
        want = reference.conv2d_per_sample(x, weight, (2, 1), 1, 1, groups)
        toward = torch.randn_like(want)
        gradients = torch.autograd.grad(want, (x, weight), toward)
        for memory_format in (torch.contiguous_format, torch.channels_last):
            got = ops.per_sample_conv2d(x.contiguous(memory_format=memory_format), weight, **window, backend=backend)
            assert got.is_contiguous(memory_format=memory_format)
            torch.testing.assert_close(got, want)
            for a, b in zip(torch.autograd.grad(got, (x, weight), toward), gradients):
                torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 6, 8, 3), {}, r"weight: got shape \(2, 6, 8, 3\); need \(2, C_out, C_in/groups, kH, kW\)"),
        ((3, 6, 8, 3, 3), {}, r"weight: got shape \(3, 6, 8, 3, 3\); need \(2, C_out, C_in/groups, kH, kW\)"),
        ((2, 6, 8, 3, 3), {"groups": 4}, "groups: got 4; need a divisor of C_in 8 and C_out 6"),
        ((2, 6, 8, 9, 9), {}, "x: got 7 x 6 pixels; need enough pixels"),
        ((2, 6, 8, 3, 3), {"backend": "eagr"}, "backend: got 'eagr'"),
    ],
    ids=["dimensions", "batch", "groups", "size", "backend"],
)
def test_arguments_that_cannot_be_used(shape, options, message):
    with pytest.raises(ops.ArgumentError, match=message):
        ops.per_sample_conv2d(torch.randn(2, 8, 7, 6), torch.randn(shape), **options)
