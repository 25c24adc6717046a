"""A network of PyTorch that predicts: what checkpoints and folders of weights have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_modules.errors import ArgumentError


def choose_device(threads: int | None, device: str | None) -> torch.device:
    """Set the threads of an operation, and return the device: by default ``cuda`` where there is one.

    Raises:
        ArgumentError: There is no such device.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("--device", "cuda, which this machine or its PyTorch has not", "cpu")
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


class TorchNetwork:
    """Runs batches of images through a network.

    Args:
        path: Where it comes from, for errors.
        network: The network.
        device: Where it runs.
        in_chans: Channels of the images that it takes.
        preparation: How images are prepared for it, by field of ``Preparation``.
        segments: Whether it classifies every pixel, rather than the image.
    """

    batch_size = None

    def __init__(
        self,
        path: str,
        network: nn.Module,
        device: torch.device,
        in_chans: int,
        preparation: Mapping[str, Any],
        segments: bool = False,
    ):
        self.path, self.network, self.device = path, network.to(device).eval(), device
        self.in_chans, self.preparation, self.segments = in_chans, preparation, segments

    def check_size(self, size: tuple[int, int, int]) -> None:
        """Raise ArgumentError unless the network takes images of a size ``(C, H, W)``."""
        if size[0] != self.in_chans:
            need = f"{self.in_chans} channels, as the network of {self.path!r} has"
            raise ArgumentError("--input_size", list(size), need)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(B, num_classes)``, or ``(B, num_classes, H, W)``, for a batch ``(B, C, H, W)``."""
        return self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy()
