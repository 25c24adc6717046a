"""The compile backend beyond the cases that every backend passes: sizes, modes, threads, reasons."""

import os
import sys
import threading

import pytest
import torch
from support.processes import run

import ops
from ops.backends.compiled import backend as compiled

STATUS = {status.name: status for status in ops.backends()}["compile"]
pytestmark = pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons))


def inputs(batch, channels, height, width, channels_last, dtype=torch.float32):
    x = torch.randn(batch, channels, height, width, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    return x.requires_grad_(), torch.randn(batch, channels, 3, 3, dtype=dtype, requires_grad=True)


def results(call, x, weight):
    """Return the output, both gradients, and the gradients of a function of those."""
    y = call(x, weight)
    first = torch.autograd.grad(y.square().sum(), (x, weight), create_graph=True)
    return (y, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight)))


def with_backend(backend, stride=1):
    def call(x, weight):
        return ops.depthwise_conv2d(x, weight, stride=stride, padding=1, backend=backend)

    return call


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


@pytest.fixture
def compilations():
    """Count compilations from a fresh start."""
    torch.compiler.reset()
    compiled._PROGRAMS.clear()
    torch._dynamo.utils.counters.clear()
    return lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]


SIZES = [(2, 6, 9, 7), (3, 6, 9, 7), (5, 8, 8, 8), (3, 3, 3, 3), (7, 5, 12, 33)]


@pytest.mark.parametrize(
    ("channels_last", "stride", "graphs"), [(False, 1, 2), pytest.param(True, 2, 3, marks=pytest.mark.exhaustive)]
)
def test_no_size_compiles_again(compilations, channels_last, stride, graphs):
    """At stride 1 the gradient to the features is the same compiled function as the output."""
    for size in SIZES:
        x, weight = inputs(*size, channels_last)
        assert_equal(
            results(with_backend("compile", stride), x, weight), results(with_backend("eager", stride), x, weight)
        )
        assert compilations() == graphs
    if not channels_last:
        results(with_backend("compile", stride), *inputs(1, 6, 9, 7, channels_last))
        assert compilations() == graphs


def test_one_sample_in_channels_last_compiles_once_more(compilations):
    for batch, graphs in ((1, 1), (1, 1), (4, 2), (1, 2), (9, 2)):
        x, weight = inputs(batch, 6, 9, 7, True)
        with torch.no_grad():
            y = ops.depthwise_conv2d(x[:, :, :, : 7 - batch % 2], weight, padding=1, backend="compile")
            assert_equal([y], [ops.depthwise_conv2d(x[:, :, :, : 7 - batch % 2], weight, padding=1, backend="eager")])
        assert compilations() == graphs


def test_inference_mode_autocast_and_plain_calls_agree(compilations):
    x, weight = inputs(2, 6, 9, 7, True)
    call, wanted = with_backend("compile"), with_backend("eager")(x, weight)
    with torch.inference_mode():
        assert_equal([call(x.clone(), weight.clone())], [wanted])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = call(x, weight)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), wanted, rtol=0.02, atol=0.1)
    assert_equal(
        torch.autograd.grad(call(x, weight).sum(), (x, weight)), torch.autograd.grad(wanted.sum(), (x, weight))
    )


@pytest.mark.exhaustive  # a compilation for each of many kernels
def test_many_kernels_stay_compiled_beyond_the_limit_of_one_function(compilations):
    x, weight = inputs(2, 4, 6, 6, True)
    with torch._dynamo.config.patch(recompile_limit=1), torch.no_grad():
        for count, stride in enumerate(((1, 2), (2, 1)), 1):
            ops.depthwise_conv2d(x, weight, stride=stride, padding=1, backend="compile")
            assert compilations() == count


def test_threads_and_reset(compilations):
    x, weight = inputs(2, 4, 6, 6, False)
    found = []

    def call():
        found.append(with_backend("compile")(x, weight).detach())

    for _ in range(2):
        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        torch.compiler.reset()
    assert len(found) == 6
    assert_equal(found, [with_backend("eager")(x, weight).detach()] * 6)


def test_what_it_cannot_run():
    with pytest.raises(ops.BackendUnavailable, match="got device meta, need cpu or cuda"):
        with_backend("compile")(*(t.to("meta") for t in inputs(1, 2, 5, 5, False)))


SCRIPT = """
import torch, ops
x, w = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)
try:
    ops.depthwise_conv2d(x, w, backend="compile")
    print("ran")
except ops.BackendUnavailable as error:
    print(error)
"""


@pytest.mark.grid  # as that of a compiler that is missing, in tests/test_ops_backends_cpp_build.py
def test_compiler_that_fails_is_a_reason(tmp_path):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'internal trouble' >&2\nexit 1\n")
    broken.chmod(0o755)
    environment = {**os.environ, "CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT]
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    assert "got an error of torch.compile" in done.stdout
