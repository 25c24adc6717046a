"""Exported programs for runtimes whose operators have constant attributes: no number of groups or pooling window may
depend on the size of the batch or of the images.

ONNX has no other operators. AOTInductor has, but compiles them for the sizes that it was traced with, and says nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_WANTED = ContextVar("constant_attributes", default=False)


@contextmanager
def constant_attributes() -> Iterator[None]:
    """Let networks that are exported inside this context use operators with constant attributes alone."""
    token = _WANTED.set(True)
    try:
        yield
    finally:
        _WANTED.reset(token)


def wants_constant_attributes() -> bool:
    """Tell whether a program is being exported whose operators must have constant attributes."""
    return torch.onnx.is_in_onnx_export() or (_WANTED.get() and torch.compiler.is_exporting())
