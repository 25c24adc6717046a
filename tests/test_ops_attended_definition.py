"""A layer with its attention in one call, against the definition of its parts in float64."""

import pytest
import torch
from support.backends import able

import ops
from ops import reference

BACKENDS = [name for name in able("attended_depthwise") if name != "compile"]  # whose parts have cases of their own
WINDOW = {"stride": 1, "padding": 1, "dilation": 1}


def definition(leaves, window):
    """Compute the same in float64, the convolution by the reference."""
    x, weight, fc1, fc2, *biases = [leaf.detach().double().requires_grad_() for leaf in leaves]
    bias1, bias2 = biases or (None, None)
    branch = ops.GlobalBranch(fc1, bias1, fc2, bias2, torch.tensor(3.0, dtype=torch.float64))
    attention = ops.branch_attention(x, branch, weight.shape[0])
    y = reference.dynamic_conv2d(x, weight, attention, **window, groups=x.shape[1])
    return y, (x, weight, fc1, fc2, *biases)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ({}, WINDOW),
        ({"biases": False}, WINDOW),
        ({"per_channel": False}, WINDOW),
        ({"per_channel": False, "kernels": 3}, {**WINDOW, "stride": 2}),
        ({"batch": 1}, WINDOW),
        ({"batch": 33, "channels": 7, "size": 6}, WINDOW),
        ({"channels": 64, "size": 33}, {**WINDOW, "stride": (1, 2)}),
        ({"channels": 16, "kernel": 5}, {"stride": 2, "padding": 2, "dilation": 1}),
        ({"channels": 130, "size": 5}, {"stride": 1, "padding": 2, "dilation": 2}),
        ({"kernels": 1}, WINDOW),
        ({"kernels": 9, "batch": 12}, WINDOW),
        # linear layers too large for parts of the batch, at and around whole packs of samples
        *(({"batch": batch, "channels": 203, "size": 4}, WINDOW) for batch in (9, 16, 17, 32, 33)),
        ({"batch": 16, "channels": 420, "size": 3, "per_channel": False, "biases": False}, WINDOW),
        # pixels that share one set of the first-level cache
        ({"channels": 1024, "size": 5}, WINDOW),
        ({"channels": 1024, "size": 6}, {**WINDOW, "stride": 2}),
    ],
    ids=str,
)
def test_output_and_gradients_match_the_definition(backend, shape, window, draw_layer):
    leaves, x, weight, branch = draw_layer(**shape)
    y = ops.attended_conv2d(x, weight, branch, **window, groups=x.shape[1], backend=backend)
    exact, exact_leaves = definition(leaves, window)
    grad = torch.randn_like(y)
    found = (y, *torch.autograd.grad(y, leaves, grad))
    wanted = (exact, *torch.autograd.grad(exact, exact_leaves, grad.double()))
    assert y.is_contiguous(memory_format=torch.channels_last)
    for f, w in zip(found, wanted):
        assert (f.double() - w).abs().max() <= 2e-5 * w.abs().max() + 1e-6
    with torch.no_grad():
        again = ops.attended_conv2d(x, weight, branch, **window, groups=x.shape[1], backend=backend)
    torch.testing.assert_close(again, y.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_negative_temperature_is_arithmetic_too(backend, per_channel, draw_layer):
    _, x, weight, branch = draw_layer(per_channel=per_channel)
    branch = branch._replace(fc2_weight=branch.fc2_weight * 30, temperature=torch.tensor(-1.0))
    y = ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)
    expected = ops.dynamic_conv2d(x, weight, ops.branch_attention(x, branch, 4), **WINDOW, groups=20)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mean_of_many_pixels_is_exact(backend):
    """A float sum that holds the large pixel would lose every one that is added to it."""
    x = torch.ones(1, 16, 600, 600).contiguous(memory_format=torch.channels_last)
    x[:, 0, 0, 0] = 2.0**24
    fc1, fc2 = torch.eye(16)[:1] / x[0, 0].double().mean().float(), torch.tensor([[1.0], [0.0]])
    branch = ops.GlobalBranch(fc1, None, fc2, None, torch.tensor(1.0))
    bank = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1, 1).expand(2, 16, 1, 3, 3).contiguous()
    with torch.no_grad():
        y = ops.attended_conv2d(x, bank, branch, stride=2, padding=1, groups=16, backend=backend)
    torch.testing.assert_close(y[0, 0, 5, 5] / 9, torch.sigmoid(torch.tensor(1.0)), rtol=2e-5, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_logits_stay_finite(backend, draw_layer):
    _, x, weight, branch = draw_layer()
    hot = branch._replace(fc2_weight=branch.fc2_weight * 1e4)
    y = ops.attended_conv2d(x, weight, hot, **WINDOW, groups=20, backend=backend)
    expected = ops.dynamic_conv2d(x, weight, ops.branch_attention(x, hot, 4), **WINDOW, groups=20)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "shape", "message"),
    [
        ("fc1_weight", (0, 20), r"fc1_weight: got shape \(0, 20\)"),
        ("fc1_weight", (20,), r"fc1_weight: got shape \(20,\)"),
        ("fc2_weight", (80,), r"fc2_weight: got shape \(80,\)"),
        ("fc1_weight", (6, 19), r"fc1_weight: got shape \(6, 19\); need \(hidden, 20\)"),
        ("fc2_weight", (79, 6), r"fc2_weight: got shape \(79, 6\); need \(4, 6\) or \(80, 6\)"),
        ("fc2_weight", (80, 5), r"fc2_weight: got shape \(80, 5\)"),
        ("fc1_bias", (5,), r"fc1_bias: got shape \(5,\); need \(6,\)"),
        ("fc2_bias", (4,), r"fc2_bias: got shape \(4,\); need \(80,\)"),
        ("temperature", (2,), r"temperature: got shape \(2,\); need one number"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_that_do_not_fit_are_named(backend, field, shape, message, draw_layer):
    _, x, weight, branch = draw_layer()
    branch = branch._replace(**{field: torch.randn(shape)})
    with pytest.raises(ops.ArgumentError, match=message):
        ops.attended_conv2d(x, weight, branch, **WINDOW, groups=20, backend=backend)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 20, 3, 3), r"weight: got shape \(4, 20, 3, 3\); need \(K, C_out, C_in/groups, kH, kW\)"),
        ((0, 20, 1, 3, 3), r"weight: got shape \(0, 20, 1, 3, 3\)"),
        ((4, 20, 1, 0, 3), r"weight: got shape \(4, 20, 1, 0, 3\)"),
        ((4, 20, 2, 3, 3), r"weight: got shape \(4, 20, 2, 3, 3\)"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_banks_that_are_none_are_named(backend, shape, message, draw_layer):
    _, x, _, branch = draw_layer()
    with pytest.raises(ops.ArgumentError, match=message):
        ops.attended_conv2d(x, torch.randn(shape), branch, **WINDOW, groups=20, backend=backend)
