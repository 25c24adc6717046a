"""A folder of weights, as timm and ``dyc export --format weights`` write it, as a network that predicts."""

from pathlib import Path

import timm
from timm.data import resolve_model_data_config

import dyc  # noqa: F401  (registers the networks)
from dyc.segmentation import SegmentationNetwork
from lightning_modules.errors import ArgumentError, first_line
from lightning_modules.prediction.torch_network import TorchNetwork, choose_device


class FolderNetwork(TorchNetwork):
    """Runs batches of images through the network of a folder; no file in it runs code when it is read.

    Args:
        path: The folder.
        threads: Threads of an operation; by default PyTorch's choice.
        device: ``cpu`` or ``cuda``; by default ``cuda`` where there is one.

    Raises:
        ArgumentError: The folder cannot be read.
    """

    def __init__(self, path: str, threads: int | None = None, device: str | None = None):
        place = choose_device(threads, device)
        need = "a folder of weights with config.json and model.safetensors, as `dyc export --format weights` writes it"
        if not (Path(path) / "model.safetensors").is_file():
            raise ArgumentError("model", f"{path!r}, which has no model.safetensors", need)
        try:
            network = timm.create_model(f"local-dir:{path}", pretrained=True)
        except Exception as error:  # of JSON, files, names and shapes
            raise ArgumentError("model", f"{path!r} ({first_line(error)})", need) from error
        config = resolve_model_data_config(network)
        names = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
        preparation = {name: config[name] for name in names}
        preparation["class_names"] = network.pretrained_cfg.get("label_names")
        segments = isinstance(network, SegmentationNetwork)
        preparation |= network.preparation if segments else {}
        super().__init__(path, network, place, preparation["input_size"][0], preparation, segments)
