"""What is compiled at first use: a first compilation, its second use, and what is said where it cannot be kept."""

import os
import platform
import shutil
import subprocess
import sys

import pytest

from ops.build import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")

# Without AVX-512, as on most processors, whichever one runs the tests; -O1 takes a fraction of the time of -O3.
PRELUDE = """
import warnings, torch, ops, ops.build
from ops import reference

warnings.simplefilter("ignore")
torch.manual_seed(0)
ops.build.FLAGS += {flags}
"""
FLAGS = ("-O1", "-mno-avx512f") if platform.machine() in ("x86_64", "AMD64") else ("-O1",)

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

ONE_CALL = """
x, w = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)
try:
    ops.depthwise_conv2d(x, w, backend="cpp")
except ops.BackendUnavailable as error:
    print(error)
print(ops.depthwise_conv2d(x, w).shape)
"""


def elsewhere(program, folder):
    """Run a program in a process of its own that keeps what it compiles in this folder."""
    program = PRELUDE.format(flags=FLAGS) + program
    environment = {**os.environ, "DYC_CACHE": str(folder)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Compile for the first time, into a folder that is not there yet."""
    folder = tmp_path_factory.mktemp("cache") / "not" / "there"
    return folder, elsewhere(CALLS, folder)


def test_a_first_compilation_runs_and_is_kept(first):
    folder, done = first
    assert done.stdout == "as defined\n"
    assert done.stderr.count("dyc: compiling") == 1
    assert str(folder) in done.stderr
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["depthwise", "layer"]


def test_a_second_process_compiles_nothing(first):
    folder = first[0]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    done = elsewhere(CALLS, folder)
    assert done.stdout == "as defined\n"
    assert "compiling" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["depthwise", "layer"])
def test_a_damaged_file_is_named(first, tmp_path, name):
    folder = shutil.copytree(first[0], tmp_path / "kept")
    (damaged,) = folder.glob(f"{name}-*.so")
    damaged.write_bytes(bytes(damaged.stat().st_size))
    done = elsewhere(ONE_CALL, folder)
    assert "got a file that cannot be loaded" in done.stdout
    assert f"remove {damaged}" in done.stdout
    assert "torch.Size([1, 2, 3, 3])" in done.stdout, "others go on"


@pytest.mark.parametrize("obstacle", ["read_only", "a_file"])
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, obstacle):
    folder = tmp_path / "kept"
    if obstacle == "a_file":
        folder.write_text("in the way")
    else:
        folder.mkdir(0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
    done = elsewhere(ONE_CALL, folder)
    assert "got no place to keep the compiled file" in done.stdout
    assert str(folder) in done.stdout
    assert "need a writable DYC_CACHE" in done.stdout
    assert "torch.Size([1, 2, 3, 3])" in done.stdout, "others go on"
