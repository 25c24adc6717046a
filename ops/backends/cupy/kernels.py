"""The CUDA kernels by name: which exist, which one a call needs, and the source text that makes one.

A kernel is compiled for a dtype, a memory format, a kernel size and a stride. Everything else (batch, channels, image,
padding) is an argument, so a new shape compiles nothing.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent / "csrc"
THREADS = 256  # of a block, at most; the launch bounds of depthwise.cu
BYTES = {"float": 4, "half": 2, "bfloat": 2}  # by the name of the type in storage.cuh
# Channels per thread in channels_last, by bytes of an element and kernel size; they and the columns of a thread are as
# many as its registers hold without spilling (tests/test_ops_backends_cupy_nvrtc.py).
VECTORS = {(2, 3): 4, (2, 5): 2, (4, 3): 2, (4, 5): 1}
SIZES, STRIDES = (3, 5), (1, 2)  # what has kernels of its own, at dilation 1


class Kernel(NamedTuple):
    """One function of the compiled file."""

    name: str
    body: str  # the template of namespace dyc that does the work
    per_sm: int  # blocks that one multiprocessor must hold
    vector: int = 1  # channels per thread
    columns: int = 1  # column steps per thread

    @property
    def source(self) -> str:
        """Return the line that defines it."""
        return f"DYC_KERNEL({self.name}, {self.per_sm}, {self.body})\n"


@cache
def strip_kernel(kind: str, storage: str, last: bool, vectorised: bool, kernel: int, stride: int) -> Kernel:
    """Return a specialised kernel.

    Args:
        kind: ``"Slide"`` (forward, and the input's gradient at stride 1), ``"Spread"`` (the input's gradient at
            stride 2) or ``"Correlate"`` (the gradient of the kernels).
        storage: A key of ``BYTES``.
        last: channels_last rather than NCHW.
        vectorised: Several channels per thread; channels_last only.
        kernel: One of ``SIZES``.
        stride: One of ``STRIDES``.
    """
    vector = VECTORS[BYTES[storage], kernel] if last and vectorised else 1
    columns = 2
    if (kind, stride) == ("Correlate", 2) or kind == "Spread":
        columns = 1
    elif last and (kind, stride) == ("Slide", 1):
        columns = 3 if vector > 1 and BYTES[storage] == 2 else 4
    numbers = (vector, kernel, columns) if kind == "Spread" else (vector, kernel, stride, columns)
    layout = f"last{vector}" if last else "first"
    function = f"channels_{'last' if last else 'first'}{'_weight' if kind == 'Correlate' else ''}"
    body = f"{function}<dyc::{kind}<{_cpp(storage)}, {', '.join(map(str, numbers))}>>"
    name = f"{kind.lower()}_{layout}_k{kernel}_s{stride}_{storage}"
    return Kernel(name, body, 2 if last else 3, vector, columns)


@cache
def any_kernel(kind: str, storage: str, last: bool) -> Kernel:
    """Return the kernel of any size, stride and dilation; ``kind`` is ``"forward"``, ``"input"`` or ``"weight"``."""
    body = f"any_{kind}<{_cpp(storage)}, {str(last).lower()}>"
    return Kernel(f"any_{kind}_{'last' if last else 'first'}_{storage}", body, 2)


@cache
def sum_kernel(storage: str) -> Kernel:
    """Return the kernel that adds the parts of the gradient of the kernels."""
    return Kernel(f"add_parts_{storage}", f"add_parts<{_cpp(storage)}>", 2)


def every_kernel(storage: str) -> list[Kernel]:
    """Return every kernel of a storage type, for tests: the product compiles those that it needs."""
    layouts = ((True, True), (True, False), (False, False))
    strips = [
        strip_kernel(kind, storage, last, vectorised, kernel, stride)
        for kind in ("Slide", "Spread", "Correlate")
        for last, vectorised in layouts
        for kernel in SIZES
        for stride in STRIDES
        if (kind, stride) != ("Spread", 1)
    ]
    others = [any_kernel(kind, storage, last) for kind in ("forward", "input", "weight") for last in (True, False)]
    return [*dict.fromkeys(strips), *others, sum_kernel(storage)]


def _cpp(storage: str) -> str:
    return storage if storage == "float" else f"dyc::{storage}"


@cache
def sources() -> str:
    """Return depthwise.cu with the files that it includes in their place, each once."""
    seen = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (SOURCES / name).read_text().replace("#pragma once\n", "")
        return re.sub(r'^#include "(\S+)"\n', lambda match: expand(match[1]), text, flags=re.MULTILINE)

    return expand("depthwise.cu")


def program(kernels: list[Kernel]) -> str:
    """Return the source text of some kernels."""
    return sources() + "".join(kernel.source for kernel in kernels)
