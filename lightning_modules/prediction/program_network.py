"""A program of ``dyc export --format pt2`` as a network that predicts, run by PyTorch alone."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_modules.data.preparation import PROPERTY, read_fields
from lightning_modules.errors import ArgumentError, first_line


class ProgramNetwork:
    """Runs batches of images through a program of ``torch.export``.

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
            raise ArgumentError("model", f"{path!r}, which does not exist", "a file of `dyc export --format pt2`")
        if threads is not None:
            torch.set_num_threads(threads)
        said = {PROPERTY: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of how its weights are stored
                self.network = torch.export.load(path, extra_files=said).module()
        except Exception as error:  # of zip, pickle, JSON and the program's version
            got = f"{path!r} ({first_line(error)})"
            raise ArgumentError("model", got, "a file of `dyc export --format pt2`") from error
        self.path, self._said = path, said[PROPERTY]

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
