"""What the processes of several trainings share: cores, GPUs, and the packages that run here."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from lightning_modules.cli.jobs.settings import setting
from lightning_modules.cli.jobs.training import Training


def environment_of(training: Training, jobs: int, slot: int) -> dict[str, str]:
    """Return the environment variables of a training's process.

    Args:
        training: The training.
        jobs: Processes that run at once; they divide the cores, unless ``OMP_NUM_THREADS`` is set.
        slot: Which of them it is, from 0; of several GPUs it gets one, unless its ``trainer.devices`` asks for more.
    """
    found = dict(os.environ)
    source = str(Path(__file__).parents[3])  # the packages that run here
    found["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    found |= {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "COLUMNS": "120"}
    if jobs > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // jobs)))
    gpus = visible_gpus()
    if len(gpus) > 1 and str(setting(training.settings, "trainer.devices", "auto")) in ("auto", "1"):
        found["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return found


def threads_of(environment: Mapping[str, str]) -> int | None:
    """Return the threads of a process; None for PyTorch's default."""
    threads = environment.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdigit() else None


def visible_gpus() -> list[str]:
    """Return the GPUs as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    return [str(index) for index in range(torch.cuda.device_count())]


def gpus_of(training: Training, environment: Mapping[str, str]) -> int:
    """Return how many GPUs a training runs on."""
    settings = training.settings
    if setting(settings, "trainer.accelerator", "auto") == "cpu" or not torch.cuda.is_available():
        return 0
    wanted = setting(settings, "trainer.devices", "auto")
    if isinstance(wanted, int) and wanted > 0:
        return wanted
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return torch.cuda.device_count() if named is None else len(named.split(","))
