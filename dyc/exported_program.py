"""Writing a program of ``torch.export`` to a file on a disk that may be full."""

import io
from typing import BinaryIO

import torch
from torch.export import ExportedProgram


def write_program(program: ExportedProgram, file: BinaryIO) -> None:
    """Write a program as ``torch.export.save`` does, but from memory.

    Given a file, PyTorch's own writer aborts the process where the disk is full.

    Raises:
        OSError: The file cannot be written.
    """
    content = io.BytesIO()
    torch.export.save(program, content)
    file.write(content.getbuffer())
