"""A folder of weights, as timm and ``dyc export --format weights`` write it, as a network that predicts."""

from pathlib import Path

import numpy as np
import timm
import torch
from timm.data import resolve_model_data_config

import dyc  # noqa: F401  (registers the networks)
from lightning_modules.errors import ArgumentError


class FolderNetwork:
    """Runs batches of images through the network of a folder; no file in it runs code when it is read.

    Args:
        path: The folder.
        threads: Threads of an operation; by default PyTorch's choice.
        device: ``cpu`` or ``cuda``; by default ``cuda`` where there is one.

    Raises:
        ArgumentError: The folder cannot be read.
    """

    batch_size = None

    def __init__(self, path: str, threads: int | None = None, device: str | None = None):
        if threads is not None:
            torch.set_num_threads(threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("--device", "cuda, which this machine or its PyTorch has not", "cpu")
        need = "a folder of weights with config.json and model.safetensors, as `dyc export --format weights` writes it"
        if not (Path(path) / "model.safetensors").is_file():
            raise ArgumentError("model", f"{path!r}, which has no model.safetensors", need)
        try:
            network = timm.create_model(f"local-dir:{path}", pretrained=True)
        except Exception as error:  # of JSON, files, names and shapes
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ArgumentError("model", f"{path!r} ({reason})", need) from error
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.path, self.network = path, network.to(self.device).eval()
        config = resolve_model_data_config(network)
        names = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
        self.preparation = {name: config[name] for name in names}
        self.preparation["class_names"] = network.pretrained_cfg.get("label_names")

    def check_size(self, size: tuple[int, int, int]) -> None:
        """Raise ArgumentError unless the network takes images of a size ``(C, H, W)``."""
        channels = self.preparation["input_size"][0]
        if size[0] != channels:
            need = f"{channels} channels, as the network of {self.path!r} has"
            raise ArgumentError("--input_size", list(size), need)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(B, num_classes)`` for a batch ``(B, C, H, W)``."""
        return self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy()
