"""A checkpoint as a network that predicts."""

from pathlib import Path

import torch

import lightning_modules
from lightning_modules.cli.imports import import_from_run
from lightning_modules.cli.quiet import quiet
from lightning_modules.cli.trained_settings import take_conversions
from lightning_modules.prediction.torch_network import TorchNetwork, choose_device
from lightning_modules.runs import find_checkpoint, read_checkpoint
from lightning_modules.tasks import TASKS, USUAL, task_of_checkpoint
from lightning_modules.trained_preparation import preparation_of


class CheckpointNetwork(TorchNetwork):
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
        place = choose_device(threads, device)
        found = find_checkpoint(path, runs, name)
        checkpoint = read_checkpoint(found)
        task = task_of_checkpoint(checkpoint)
        if not imported:
            import_from_run(found, runs, checkpoint.get("imports", []))
        take_conversions({}, {}, checkpoint["hyper_parameters"])  # raises where nothing can rebuild the network
        torch.set_float32_matmul_precision("high")  # as for the other commands
        module = getattr(lightning_modules, TASKS[task].module)
        network = module.load_from_checkpoint(found, map_location="cpu", weights_only=True)
        super().__init__(str(found), network, place, network.in_chans, preparation_of(checkpoint), task != USUAL)
