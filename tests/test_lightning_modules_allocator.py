"""Freed memory is kept for the next step, unless the user has decided about it."""

import subprocess
import sys

import pytest

from lightning_modules.allocator import DECIDED_BY, keep_freed_memory

PAGES_OF_A_SECOND_BLOCK = """
import ctypes, resource, sys
from lightning_modules import allocator
if "old" in sys.argv:
    allocator.MMAP_THRESHOLD = 1  # M_MXFAST, which refuses so high a value, as MMAP_THRESHOLD did before glibc 2.35
if "default" not in sys.argv:
    assert allocator.keep_freed_memory({})
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size = 100 << 20
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    ctypes.memset(ctypes.c_void_p(block), 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_a_block_is_used_again_instead_of_new_pages():
    pages = {}
    for keep in ("keep", "old", "default"):
        command = [sys.executable, "-c", PAGES_OF_A_SECOND_BLOCK, keep]
        pages[keep] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # 100 MiB are 25,600 pages of 4 KiB; a machine with large pages faults less often, but not never.
    assert max(pages["keep"], pages["old"]) < pages["default"] / 2


@pytest.mark.parametrize("name", DECIDED_BY)
def test_a_choice_of_the_user_stands(name):
    assert not keep_freed_memory({name: "1"})
