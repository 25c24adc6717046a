"""The C++ kernels as other processors compile them: without AVX-512, in a process of their own."""

import os
import sys

import pytest
import torch
from support.processes import run

from ops.backends.cpp.build import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")

# Without AVX-512, as on most processors; -O0 takes a fraction of the time of -O3.
PRELUDE = """
import warnings, torch, ops, ops.backends.cpp.build
from ops import reference

warnings.simplefilter("ignore")
torch.manual_seed(0)
ops.backends.cpp.build.FLAGS += ("-O0", "-mno-avx512f")
"""

CALLS = """
def hold(found, want, dtype):
    for ours, exact in zip(found, want, strict=True):
        error, scale = (ours.double() - exact).abs().max(), exact.abs().max()
        assert error <= (0.5 * torch.finfo(dtype).eps + 1e-5) * scale, (error, scale)

def leaves(*tensors):
    return [t.detach().requires_grad_() for t in tensors]

def with_gradients(y, inputs, gradient):
    return y, *torch.autograd.grad(y, inputs, gradient.to(y.dtype))

for kernel, stride, last, dtype in (
    (3, 1, True, torch.float32),
    (5, 2, True, torch.bfloat16),
    (5, 1, False, torch.float32),
    (3, 2, False, torch.bfloat16),
    ((2, 3), 1, True, torch.float32),
):
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    x, weight = torch.randn(2, 19, 11, 8, dtype=dtype), torch.randn(2, 19, *size, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    ours, exact = leaves(x, weight), leaves(x.double(), weight.double())
    y = ops.depthwise_conv2d(*ours, stride=stride, padding=1, backend="cpp")
    gradient = torch.randn_like(y)
    want = reference.depthwise_conv2d(*exact, stride=stride, padding=1)
    hold(with_gradients(y, ours, gradient), with_gradients(want, exact, gradient), dtype)

x = torch.randn(2, 19, 11, 8).contiguous(memory_format=torch.channels_last)
rest = torch.randn(4, 19, 1, 3, 3), torch.randn(5, 19), torch.randn(5), torch.randn(4, 5), torch.randn(4)
ours, exact = leaves(x, *rest), leaves(x.double(), *(t.double() for t in rest))

def layer(x, bank, *branch, **options):
    branch = ops.GlobalBranch(*branch, torch.tensor(2.0, dtype=x.dtype))
    return ops.attended_conv2d(x, bank, branch, padding=1, groups=19, **options)

y = layer(*ours, backend="cpp")
gradient = torch.randn_like(y)
hold(with_gradients(y, ours, gradient), with_gradients(layer(*exact, backend="eager"), exact, gradient), x.dtype)
print("as defined")
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="got no AVX-512; every other test runs this code here"
)
def test_what_other_processors_compile_runs_as_defined(tmp_path):
    environment = {**os.environ, "DYC_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", PRELUDE + CALLS]
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as defined\n"
