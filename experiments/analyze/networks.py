"""The networks of an analysis: a checkpoint, the last checkpoint of a run's folder, or a name of timm's."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lightning_modules
from dyc.dynamic_model import iter_dynamic
from dyc.meta_device import usual_input_sizes
from experiments.analyze.images import Images, open_images
from lightning_modules.cli.given_network import GIVEN, check_not_pretrained, timm_name
from lightning_modules.cli.imports import import_from_run
from lightning_modules.cli.trained_settings import take_conversions
from lightning_modules.create_network import build_network
from lightning_modules.network_source import title_of
from lightning_modules.prediction.torch_network import choose_device
from lightning_modules.runs import CHECKPOINTS, find_checkpoint, read_checkpoint
from lightning_modules.tasks import TASKS, USUAL, task_of_checkpoint
from ops import ArgumentError


@dataclass(frozen=True)
class Network:
    """A network to look at, in evaluation mode and channels_last.

    Args:
        label: What pictures call it.
        source: The checkpoint's path, or the name of timm's.
        title: Its name, and what was made of it.
        module: The network.
        size: Its usual images, ``(C, H, W)``.
        images: The images that it is shown; None where the analysis needs none.
        task: What it was trained for.
    """

    label: str
    source: str
    title: str
    module: nn.Module
    size: tuple[int, int, int]
    images: Images | None
    task: str = USUAL

    @property
    def dynamic(self) -> bool:
        """Whether it has dynamic layers."""
        return next(iter_dynamic(self.module), None) is not None


def open_network(
    given: str,
    options: argparse.Namespace,
    data_options: Sequence[str],
    opened: dict[str, Images],
    imported: bool = False,
) -> Network:
    """Return a network with its images.

    Args:
        given: What the command line calls it.
        options: The analysis's options: ``runs``, ``pretrained``, ``device``, and ``images`` where it needs some.
        data_options: Options of the data, as on the command line.
        opened: Images that other networks are shown, by their settings.
        imported: Whether the user said what to import for it.

    Raises:
        ArgumentError: It is nothing of the kind, or has no images.
    """
    device = choose_device(None, options.device)
    path = _checkpoint(given, options.runs)
    if path is None:
        network = _named(given, options, data_options, opened)
    else:
        network = _trained(path, options, data_options, opened, imported)
    network.module.eval().to(device, memory_format=torch.channels_last)
    return network


def _checkpoint(given: str, runs: Path) -> Path | None:
    """Return the checkpoint's file; None for what is no file and no folder."""
    folders = [folder for folder in (runs / given, Path(given)) if folder.is_dir()]
    for folder in folders:
        found = [*folder.glob(f"**/{CHECKPOINTS}/last*.ckpt")]
        runs_inside = {path.parent.parent if folder == path.parent.parent else path.parents[2] for path in found}
        if len(runs_inside) > 1:
            what = f"which holds {len(runs_inside)} runs"
            raise ArgumentError(GIVEN, f"{str(folder)!r}, {what}", "the folder of one run")
        if found:
            return find_checkpoint(str(max(found, key=lambda path: path.stat().st_mtime)), runs, "")
    if folders:
        raise ArgumentError(GIVEN, f"{str(folders[0])!r}, which has no checkpoint", "the folder of a run")
    if given.endswith(".ckpt") or Path(given).is_file():
        return find_checkpoint(given, runs, "")
    return None


def _trained(
    path: Path, options: argparse.Namespace, data_options: Sequence[str], opened: dict[str, Images], imported: bool
) -> Network:
    check_not_pretrained(options.pretrained)
    checkpoint = read_checkpoint(path)
    if not imported:
        import_from_run(path, options.runs, checkpoint.get("imports", []))
    take_conversions({}, {}, checkpoint["hyper_parameters"])  # raises where nothing can rebuild the network
    task = task_of_checkpoint(checkpoint)
    module = getattr(lightning_modules, TASKS[task].module)
    trained = module.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    images = open_images(options, data_options, checkpoint, opened) if hasattr(options, "images") else None
    title = title_of(checkpoint["hyper_parameters"])
    data = checkpoint.get("datamodule_hyper_parameters") or {}
    size = data.get("image_size") or data.get("crop_size") or usual_input_sizes(trained.evaluated)[0][-1]
    height, width = (size, size) if isinstance(size, int) else size
    return Network(title, str(path), title, trained.evaluated, (trained.in_chans, height, width), images, task)


def _named(given: str, options: argparse.Namespace, data_options: Sequence[str], opened: dict[str, Images]) -> Network:
    name = timm_name(given, "; or a checkpoint, or the folder of a run")
    images: Images | None = None
    kwargs: dict[str, Any] = {}
    if hasattr(options, "images"):
        if not data_options:
            need = "the images: --data.dataset NAME and --data.root DIR, as in `dyc test --help`"
            raise ArgumentError("--data", f"none, and {name} is no checkpoint that knows its data", need)
        images = open_images(options, data_options, None, opened)
        kwargs = {"num_classes": images.data.num_classes, "in_chans": images.data.in_chans}
    torch.manual_seed(0)  # without weights of timm's they are drawn
    network = build_network(name, {}, kwargs.get("num_classes"), kwargs.get("in_chans", 3), options.pretrained)
    size = usual_input_sizes(network)[0]
    return Network(name, name, name, network, (kwargs.get("in_chans", size[0]), *size[1:]), images)


def labelled(networks: Sequence[Network], labels: Sequence[str] | None) -> list[Network]:
    """Return the networks under the given labels, or under labels that tell them apart.

    Raises:
        ArgumentError: There is another number of labels, or two are alike.
    """
    if labels is not None:
        if len(labels) != len(networks) or len(set(labels)) < len(labels):
            raise ArgumentError("--labels", " ".join(labels), f"{len(networks)} different labels, one for each network")
        return [replace(each, label=label) for each, label in zip(networks, labels)]
    names = [each.label for each in networks]
    if len(set(names)) == len(names):
        return list(networks)
    if len({each.source for each in networks}) < len(networks):
        raise ArgumentError(GIVEN, sentence="the same network twice; name others, or give --labels")
    parts = [Path(each.source).parts for each in networks]
    differ = [i for i, column in enumerate(zip(*parts)) if len(set(column)) > 1]
    own = ["/".join(part[i] for i in differ) for part in parts]
    own = own if len(set(own)) == len(own) else [f"{name} {n}" for n, name in enumerate(names, 1)]
    return [replace(each, label=label) for each, label in zip(networks, own)]
