"""A checkpoint as a network that predicts."""

from pathlib import Path

import numpy as np
import torch

from lightning_modules.classifier import ImageClassifier
from lightning_modules.cli.imports import import_from_run
from lightning_modules.cli.quiet import quiet
from lightning_modules.cli.trained_settings import take_conversions
from lightning_modules.runs import find_checkpoint, read_checkpoint
from lightning_modules.trained_preparation import preparation_of
from ops import ArgumentError


class CheckpointNetwork:
    """Runs batches of images through the network of a checkpoint of ``dyc fit``.

    Args:
        path: The file, or ``last`` or ``best``.
        runs: Folder of all runs.
        name: Name of the run.
        imported: Whether the user said what to import; by default that is what the checkpoint's run imported.
        threads: Threads of an operation; by default PyTorch's choice.
        device: ``cpu`` or ``cuda``; by default ``cuda`` where there is one.

    Raises:
        ArgumentError: The file cannot be read, or its network cannot be rebuilt or run.
    """

    batch_size = None

    def __init__(
        self,
        path: str,
        runs: Path,
        name: str,
        imported: bool = False,
        threads: int | None = None,
        device: str | None = None,
    ):
        quiet()
        if threads is not None:
            torch.set_num_threads(threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("--device", "cuda, which this machine or its PyTorch has not", "cpu")
        found = find_checkpoint(path, runs, name)
        checkpoint = read_checkpoint(found)
        if not imported:
            import_from_run(found, runs, checkpoint.get("imports", []))
        take_conversions({}, {}, checkpoint["hyper_parameters"])  # raises where nothing can rebuild the network
        torch.set_float32_matmul_precision("high")  # as for the other commands
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        network = ImageClassifier.load_from_checkpoint(found, map_location="cpu", weights_only=True)
        self.path, self.network = str(found), network.to(self.device).eval()
        self.preparation = preparation_of(checkpoint)

    def check_size(self, size: tuple[int, int, int]) -> None:
        """Raise ArgumentError unless the network takes images of a size ``(C, H, W)``."""
        if size[0] != self.network.in_chans:
            need = f"{self.network.in_chans} channels, as the network of {self.path!r} has"
            raise ArgumentError("--input_size", list(size), need)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(B, num_classes)`` for a batch ``(B, C, H, W)``."""
        return self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy()
