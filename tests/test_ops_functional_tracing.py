"""The operators inside torch.compile, without a graph break, for more than one batch size."""

import pytest
import torch

import ops
from ops.backends.compiled import backend as compile_backend

STATUS = {status.name: status for status in ops.backends()}


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


def whole(backend, *others, marks=()):
    status = STATUS[backend]
    marks = [*marks, pytest.mark.skipif(not status.available, reason="; ".join(status.reasons))]
    return pytest.param(backend, *others, marks=marks)


@pytest.mark.parametrize(
    ("backend", "channels_last", "stride", "gradients", "compiler"),
    [
        whole("cpp", True, 1, True, "aot_eager"),
        whole("cpp", False, 2, True, "aot_eager"),
        whole("cpp", True, 1, False, "aot_eager", marks=[pytest.mark.exhaustive]),
        whole("compile", True, 1, True, "aot_eager", marks=[pytest.mark.grid]),
        whole("compile", True, 1, True, "inductor", marks=[pytest.mark.exhaustive]),
        whole("compile", False, 2, True, "aot_eager", marks=[pytest.mark.grid]),
        whole("compile", True, 2, True, "aot_eager"),
    ],
)
def test_one_graph_serves_all_batch_sizes(backend, channels_last, stride, gradients, compiler):
    torch._dynamo.utils.counters.clear()
    compile_backend._PROGRAMS.clear()

    def call(x, weight, backend=backend):
        return ops.depthwise_conv2d(x, weight, stride=stride, padding=1, backend=backend).sigmoid() + 1

    def outcome(function, x, weight, *others):
        y = function(x, weight, *others)
        return (y, *torch.autograd.grad(y.sum(), (x, weight))) if gradients else (y,)

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=compiler)
    for batch in (2, 3, 5):
        x = torch.randn(batch, 6, 9, 7)
        x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        x, weight = x.requires_grad_(gradients), torch.randn(batch, 6, 3, 3, requires_grad=gradients)
        for ours, theirs in zip(outcome(compiled, x, weight), outcome(call, x, weight, "eager"), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not compile_backend._PROGRAMS  # its sums are traced, not called


def test_use_backend_holds_inside_a_compiled_function():
    def call(x, weight):
        return ops.depthwise_conv2d(x, weight)

    x, weight = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 3, 3)
    with ops.use_backend("eager"):
        y = torch.compile(call, fullgraph=True, backend="eager")(x, weight)
    torch.testing.assert_close(y, call(x, weight))
