"""The CUDA kernels without a GPU: compiled for the CPU with cuda_on_cpu.h, and launched there."""

import ctypes
from pathlib import Path

from support.processes import run

from ops.backends.cpp.build import compiler
from ops.backends.cupy import calls as cuda_calls
from ops.backends.cupy.kernels import every_kernel, program

HEADER = Path(__file__).parent / "cuda_on_cpu.h"


class Emulator:
    """Launches on the CPU; where a kernel walks its grid, of at most three blocks, so that it has to."""

    processors = 4

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.launched: list[str] = []

    def launch(self, kernel, grid, threads, shared, call):
        assert 0 < threads <= 256
        assert 0 <= shared <= 48 * 1024
        self.launched.append(kernel.name)
        function = getattr(self._library, kernel.name)
        grid = min(grid, 3) if kernel.name.startswith(("any", "add")) else grid
        function(ctypes.byref(call), ctypes.c_longlong(grid), threads, ctypes.c_ulonglong(shared))


def build(folder):
    kernels = [kernel for storage in cuda_calls.STORAGE.values() for kernel in every_kernel(storage)]
    size = 'extern "C" unsigned long long size_of_call() { return sizeof(dyc::Call); }\n'
    (folder / "kernels.cpp").write_text(f'#include "{HEADER}"\n' + program(kernels) + size)
    command = [
        *compiler(),
        "-O1",
        "-std=c++20",
        "-fPIC",
        "-shared",
        "-Wno-psabi",
        "-w",
        "kernels.cpp",
        "-o",
        "kernels.so",
    ]
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
