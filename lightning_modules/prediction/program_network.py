"""A program of ``dyc export --format pt2`` or ``aoti`` as a network that predicts, run by PyTorch alone."""

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_modules.data.preparation import PROPERTY, read_fields
from lightning_modules.errors import ArgumentError, first_line

WRITERS = "`dyc export --format pt2` or `aoti`"


class ProgramNetwork:
    """Runs batches of images through a program of ``torch.export`` or AOTInductor.

    Args:
        path: The file. A program is code: run none from someone whom you do not trust.
        threads: Threads of an operation; by default PyTorch's choice.
        device: ``cpu``, for which programs are exported.

    Raises:
        ArgumentError: The file cannot be read, or the device is another.
    """

    batch_size = None
    segments = False  # unless its preparation has a palette

    def __init__(self, path: str, threads: int | None = None, device: str | None = None):
        if device == "cuda":
            raise ArgumentError("--device", "cuda", f"cpu, for which {path!r} was exported")
        if not Path(path).is_file():
            raise ArgumentError("model", f"{path!r}, which does not exist", f"a file of {WRITERS}")
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of how its weights are stored
                self.network, self._said = _load(path)
        except Exception as error:  # of zip, pickle, JSON and the program's version
            got = f"{path!r} ({first_line(error)})"
            raise ArgumentError("model", got, f"a file of {WRITERS}") from error
        self.path = path

    @property
    def preparation(self) -> Mapping[str, Any]:
        """What the file says about the preparation of images, by field of ``Preparation``."""
        return read_fields(self._said, self.path)

    def check_size(self, size: tuple[int, int, int]) -> None:
        """Do nothing: a program checks its images when it runs."""

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(B, num_classes)``, or ``(B, num_classes, H, W)``, for a batch ``(B, C, H, W)``."""
        try:
            return self.network(torch.from_numpy(images)).float().numpy()
        except Exception as error:  # of guards and operators
            got = f"{self.path!r}, which failed for a batch {images.shape} ({first_line(error)})"
            raise ArgumentError("model", got, "a network for such images: see --input_size") from error


def _load(path: str) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return a program, and what it says about the preparation of images."""
    with zipfile.ZipFile(path) as archive:
        compiled = any("/aotinductor/" in name for name in archive.namelist())
    if not compiled:
        said = {PROPERTY: ""}
        return torch.export.load(path, extra_files=said).module(), said[PROPERTY]
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # else images of other sizes are read past their end
    network = torch._inductor.aoti_load_package(path)
    return network, network.get_metadata().get(PROPERTY, "")
