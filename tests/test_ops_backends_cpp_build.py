"""What is compiled at first use: a first compilation, its second use, and what is said where it cannot be kept."""

import os
import platform
import re
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.processes import run

import ops
from ops.backends.cpp.backend import CPP, load
from ops.backends.cpp.build import build, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")

# Without AVX-512, as on most processors, whichever one runs the tests; -O0 takes a fraction of the time of -O3.
PRELUDE = """
import warnings, torch, ops, ops.backends.cpp.build
from ops import reference

warnings.simplefilter("ignore")
torch.manual_seed(0)
ops.backends.cpp.build.FLAGS += {flags}
"""
FLAGS = ("-O0", "-mno-avx512f") if platform.machine() in ("x86_64", "AMD64") else ("-O0",)

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


def elsewhere(program, folder):
    """Run a program in a process of its own that keeps what it compiles in this folder."""
    program = PRELUDE.format(flags=FLAGS) + program
    environment = {**os.environ, "DYC_CACHE": str(folder)}
    done = run([sys.executable, "-c", program], env=environment)
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


@pytest.fixture
def unprepared(backend_registry, monkeypatch):
    """Let the C++ backend prepare itself again, here and now, where ``DYC_CACHE`` says; return what it says of that."""
    ops.depthwise_conv2d(*PAIR, backend="cpp")
    kept = build("depthwise", "layer")

    def prepare(folder):
        monkeypatch.setenv("DYC_CACHE", str(folder))
        convolutions = ops.Preparation(partial(load, "depthwise", "layer"))
        operators = {n: replace(i, prepare=convolutions) for n, i in CPP.operators.items()}
        ops.register_backend(replace(CPP, operators=operators), replace=True)
        with pytest.warns(UserWarning, match="backend 'cpp' is not available") as warned:
            y = ops.depthwise_conv2d(*PAIR)
        torch.testing.assert_close(y, ops.depthwise_conv2d(*PAIR, backend="eager"))  # others go on
        with pytest.raises(ops.BackendUnavailable) as error:
            ops.depthwise_conv2d(*PAIR, backend="cpp")
        assert str(warned[0].message).endswith(str(error.value).split(": ", 1)[1])
        return str(error.value)

    return prepare, kept


PAIR = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)


@pytest.mark.parametrize("name", ["depthwise", "layer"])
def test_a_damaged_file_is_named(unprepared, tmp_path, name):
    prepare, kept = unprepared
    for path in kept:  # what is loaded already is not loaded again through a link
        damaged = tmp_path / path.name
        damaged.symlink_to(path) if name not in path.name else damaged.write_bytes(bytes(path.stat().st_size))
    said = prepare(tmp_path)
    assert "got a file that cannot be loaded" in said
    assert re.search(f"remove {tmp_path}/{name}-.*\\.so", said)


@pytest.mark.parametrize("obstacle", ["read_only", "a_file"])
def test_a_folder_that_cannot_be_written_to_is_named(unprepared, tmp_path, obstacle):
    folder = tmp_path / "kept"
    if obstacle == "a_file":
        folder.write_text("in the way")
    else:
        folder.mkdir(0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
    said = unprepared[0](folder)
    assert "got no place to keep the compiled file" in said
    assert str(folder) in said
    assert "need a writable DYC_CACHE" in said


def test_a_compiler_that_fails_is_quoted(unprepared, tmp_path, monkeypatch):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'internal trouble' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "internal trouble" in unprepared[0](tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["broken-c++"]


NO_COMPILER = """
import torch, ops
x, w = torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3)
print(ops.depthwise_conv2d(x, w).shape)
for name in ("cpp", "compile"):
    try:
        ops.depthwise_conv2d(x, w, backend=name)
        print("ran")
    except ops.BackendUnavailable as error:
        print(error)
"""


def test_a_machine_without_a_compiler_says_what_to_install():
    environment = {**os.environ, "CXX": "no-such-compiler"}
    command = [sys.executable, "-c", NO_COMPILER]
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    others, cpp, compiled = done.stdout.splitlines()
    assert others == "torch.Size([1, 2, 3, 3])"
    assert "got CXX='no-such-compiler', which is not there; need g++ or clang++ on PATH" in cpp
    assert "got no no-such-compiler; Inductor needs a C++ compiler" in compiled
