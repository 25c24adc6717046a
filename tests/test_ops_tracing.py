"""The operators inside torch.compile, without a graph break, for more than one batch size."""

import pytest
import torch

import ops


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("out_channels", "in_per_group", "kernel", "groups", "compiler"),
    # Inductor takes seconds per form; the others are traced forward and backward, then run as they are.
    [(6, 1, 3, 6, "inductor"), (8, 6, 1, 1, "aot_eager"), (4, 6, 3, 1, "aot_eager"), (4, 3, 3, 2, "aot_eager")],
    ids=["depthwise", "pointwise", "dense", "grouped"],
)
def test_compiles_whole_for_two_batch_sizes(out_channels, in_per_group, kernel, groups, compiler):
    def call(x, weight, attention):
        return ops.dynamic_conv2d(x, weight, attention, padding=kernel // 2, groups=groups)

    compiled = torch.compile(call, fullgraph=True, backend=compiler)
    weight = torch.randn(4, out_channels, in_per_group, kernel, kernel, requires_grad=True)
    for batch in (2, 3):
        x, attention = torch.randn(batch, 6, 8, 8, requires_grad=True), torch.rand(batch, 4, out_channels)
        results = []
        for function in (call, compiled):
            y = function(x, weight, attention)
            results.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
        torch.testing.assert_close(
            results[1], results[0], rtol=1e-5, atol=1e-5 * max(t.abs().max() for t in results[0])
        )


def test_use_backend_holds_inside_a_compiled_function():
    def call(x, weight):
        return ops.depthwise_conv2d(x, weight)

    x, weight = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 3, 3)
    with ops.use_backend("eager"):
        y = torch.compile(call, fullgraph=True, backend="eager")(x, weight)
    torch.testing.assert_close(y, call(x, weight))
