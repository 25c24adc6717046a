"""About how long trainings take, from a few steps on random images; no data is needed."""

import inspect
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from experiments.run.plan import TO_TRAIN, Item
from lightning_modules.allocator import keep_freed_memory
from lightning_modules.cli.jobs.settings import BATCH, setting
from lightning_modules.tasks import TASKS, USUAL
from ops import ArgumentError

IMAGES = {
    "camvid": 367,
    "digits": 1437,
    "torch/cifar10": 50_000,
    "torch/cifar100": 50_000,
    "torch/fashion_mnist": 60_000,
    "torch/kmnist": 60_000,
    "torch/mnist": 60_000,
    "tiny_imagenet": 100_000,
}
"""Images of the training splits."""

IMAGENET, IMAGENET_CLASSES, IMAGENET_SIZE = 1_281_167, 1000, 224
"""What is taken for data that is not there to be looked at."""

SIZES = {
    "camvid": (180, 240),
    "digits": 8,
    "torch/fashion_mnist": 28,
    "torch/kmnist": 28,
    "torch/mnist": 28,
    "tiny_imagenet": 64,
}
CLASSES = {"camvid": 11, "torch/cifar100": 100, "tiny_imagenet": 200}
GREY = ("digits", "torch/fashion_mnist", "torch/kmnist", "torch/mnist")
EVALUATION = 1 / 3
"""Time of an image that is evaluated, as a part of that of one that is trained on."""
MOST_PIXELS = 128 * 32 * 32
"""Pixels of a measured batch at most; larger batches are timed in part."""
STEPS, SECONDS = 3, 5.0
TRAINING = ("optimizer", "schedule", "regularization")
"""Settings of the model that leave the network as it is."""


def estimates(items: Sequence[Item], jobs: int = 1) -> dict[Item, float | str]:
    """Return the seconds that are left of each training that would run, or why they cannot be told.

    Args:
        items: The plan.
        jobs: Trainings at once, among which the cores are divided.
    """
    found: dict[Item, float | str] = {}
    speeds: dict[str, float | str] = {}
    todo = [each for each in items if each.training and each.status in TO_TRAIN]
    keep_freed_memory()  # as a training does
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:  # as lightning_modules/cli/jobs/environment.py divides the cores
        torch.set_num_threads(max(1, threads // min(jobs, max(1, len(todo)))))
    try:
        for each in todo:
            settings = each.training.settings
            key = repr((_network_of(settings), setting(settings, "trainer.precision"), data_of(settings)))
            if key not in speeds:
                print(f"timing a few steps of {each.row.path}", file=sys.stderr, flush=True)
                speeds[key] = _speed(settings)
            speed = speeds[key]
            found[each] = speed if isinstance(speed, str) else seconds_left(each, speed)
    finally:
        torch.set_num_threads(threads)
    return found


def _network_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the model on which the time of a step depends: those of the network."""
    model = {name: value for name, value in settings.get("model", {}).items() if name not in TRAINING}
    kwargs = model.get("model_kwargs") or {}
    return {**model, "model_kwargs": {name: value for name, value in kwargs.items() if name != "temperature"}}


def seconds_left(item: Item, seconds_per_image: float) -> float:
    """Return the time that is left of a training."""
    settings = item.training.settings
    dataset = setting(settings, "data.dataset", "digits")
    images = IMAGES.get(dataset) or folder_of(settings)[0]
    if setting(settings, "data.val_fraction"):
        images *= 1 - setting(settings, "data.val_fraction")
    limit = setting(settings, "trainer.limit_train_batches", 1.0)
    if isinstance(limit, int):
        images = min(images, limit * data_of(settings)["batch"])
    else:
        images *= limit
    evaluated = images * 0.2 * EVALUATION
    epochs = item.training.epochs - (item.state.epoch if item.state else 0)
    return seconds_per_image * ((images + evaluated) * epochs + 2 * evaluated)


def data_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Return batch size, image size and channels of the images that settings name, and the number of classes.

    The size is height and width, or one number for both.
    """
    dataset = setting(settings, "data.dataset", "digits")
    if dataset in IMAGES:
        size, classes = SIZES.get(dataset, 32), CLASSES.get(dataset, 10)
    else:
        _, size, classes = folder_of(settings)
    size = setting(settings, "data.image_size", size)
    return {
        "batch": int(setting(settings, "data.batch_size", BATCH)),
        "size": size if isinstance(size, int) else tuple(size),
        "channels": 1 if dataset in GREY else 3,
        "classes": int(setting(settings, "model.num_classes", classes)),
    }


def folder_of(settings: dict[str, Any]) -> tuple[int, int, int]:
    """Return the training images of a folder, the height of its first one in pixels, and its classes; or ImageNet's."""
    root = Path(setting(settings, "data.root", ".data"))
    if setting(settings, "data.dataset") != "folder" or not root.is_dir():
        return IMAGENET, IMAGENET_SIZE, IMAGENET_CLASSES
    return _looked_at(root)


@cache
def _looked_at(root: Path) -> tuple[int, int, int]:
    from PIL import Image

    from lightning_modules.data.folders import open_folder

    train = open_folder(root).train
    with Image.open(train.reader.paths[0]) as first:
        size = first.height
    return len(train), size, len(train.reader.class_to_idx)


def _speed(settings: dict[str, Any]) -> float | str:
    """Return the seconds of one training image, or why the network cannot be built."""
    from lightning.pytorch.cli import LightningArgumentParser

    import lightning_modules

    data = data_of(settings)
    try:
        module = getattr(lightning_modules, TASKS[setting(settings, "task", USUAL)].module)
        parser = LightningArgumentParser()
        skipped = {"net"} & inspect.signature(module).parameters.keys()
        parser.add_class_arguments(module, "model", fail_untyped=False, sub_configs=True, skip=skipped)
        model = {**settings.get("model", {}), "num_classes": data["classes"]}
        source = parser.instantiate(parser.parse_object({"model": model})).model.source
        net = source.build(data["classes"], source.in_chans(data["channels"]))
    except (ArgumentError, RuntimeError, TypeError, ValueError, SystemExit) as error:
        return f"cannot be told: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    cpu = setting(settings, "trainer.accelerator", "auto") == "cpu" or not torch.cuda.is_available()
    device = torch.device("cpu" if cpu else "cuda")
    precision = str(setting(settings, "trainer.precision", "32-true"))
    kind = torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else None
    height, width = data["size"] if isinstance(data["size"], tuple | list) else 2 * (int(data["size"]),)
    batch = max(2, min(data["batch"], MOST_PIXELS // (height * width)) if cpu else data["batch"])
    net.to(device, memory_format=torch.channels_last).train()
    images = torch.rand(batch, data["channels"], height, width, device=device)
    images = images.to(memory_format=torch.channels_last)
    pixels = (height, width) if module.task == "segmentation" else ()
    labels = torch.randint(data["classes"], (batch, *pixels), device=device)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=kind is not None):
            outputs = net(images)  # a pair with an auxiliary head
            loss = sum(cross_entropy(each, labels) for each in (outputs if isinstance(outputs, tuple) else (outputs,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not cpu:
            torch.cuda.synchronize()

    step()  # warm-up
    began, steps = time.perf_counter(), 0
    while steps < STEPS and time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    return (time.perf_counter() - began) / (steps * batch)
