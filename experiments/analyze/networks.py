"""The networks of an analysis: a checkpoint, the last checkpoint of a run's folder, or a name of timm's."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lightning_modules
from dyc.dynamic_model import iter_dynamic
from dyc.meta_device import usual_input_sizes
from experiments.analyze.images import Images, open_images, unread_data
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
        task: What it was trained for.
        knows_size: Whether the images that it is shown surely have this size, also before they are read.
        checkpoint: What its file holds; None for a name of timm's.
        images: The images that it is shown; None before :func:`with_images`, and where the analysis needs none.
    """

    label: str
    source: str
    title: str
    module: nn.Module
    size: tuple[int, int, int]
    task: str = USUAL
    knows_size: bool = False
    checkpoint: Mapping[str, Any] | None = None
    images: Images | None = None

    @property
    def dynamic(self) -> bool:
        """Whether it has dynamic layers."""
        return next(iter_dynamic(self.module), None) is not None


def open_network(
    given: str, options: argparse.Namespace, data_options: Sequence[str], imported: bool = False
) -> Network:
    """Return a network, before its images are read.

    Args:
        given: What the command line calls it.
        options: The analysis's options: ``runs``, ``pretrained``, ``device``, and ``images`` where it needs some.
        data_options: Options of the data, as on the command line.
        imported: Whether the user said what to import for it.

    Raises:
        ArgumentError: It is nothing of the kind, or has no images.
    """
    path = _checkpoint(given, options.runs)
    named = path is None
    network = _named(given, options, data_options) if named else _trained(path, options, data_options, imported)
    return _ready(network, options)


def _ready(network: Network, options: argparse.Namespace) -> Network:
    network.module.eval().to(choose_device(None, options.device), memory_format=torch.channels_last)
    return network


def with_images(
    network: Network, options: argparse.Namespace, data_options: Sequence[str], opened: dict[str, Images]
) -> Network:
    """Return a network with the images that it is shown; one of timm's has an output for each of their classes.

    Args:
        network: What :func:`open_network` returned.
        options: As for :func:`open_network`.
        data_options: As for :func:`open_network`.
        opened: Images that other networks are shown, by their settings.

    Raises:
        ArgumentError: The images cannot be read.
    """
    images = open_images(options, data_options, network.checkpoint, opened)
    module, classes = network.module, images.data.num_classes
    if network.checkpoint is None and getattr(module, "num_classes", None) != classes:
        module = _drawn(network.source, classes, images.data.in_chans, options.pretrained)
    return _ready(replace(network, module=module, images=images), options)


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


def _trained(path: Path, options: argparse.Namespace, data_options: Sequence[str], imported: bool) -> Network:
    check_not_pretrained(options.pretrained)
    checkpoint = read_checkpoint(path)
    if not imported:
        import_from_run(path, options.runs, checkpoint.get("imports", []))
    take_conversions({}, {}, checkpoint["hyper_parameters"])  # raises where nothing can rebuild the network
    task = task_of_checkpoint(checkpoint)
    module = getattr(lightning_modules, TASKS[task].module)
    trained = module.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    title = title_of(checkpoint["hyper_parameters"])
    data = checkpoint.get("datamodule_hyper_parameters") or {}
    if hasattr(options, "images"):
        data = unread_data(data_options, checkpoint).hparams
    given = data.get("image_size")
    size = given or data.get("crop_size") or usual_input_sizes(trained.evaluated)[0][-1]
    height, width = (size, size) if isinstance(size, int) else size
    of_images = (trained.in_chans, height, width)
    return Network(title, str(path), title, trained.evaluated, of_images, task, given is not None, checkpoint)


def _named(given: str, options: argparse.Namespace, data_options: Sequence[str]) -> Network:
    name = timm_name(given, "; or a checkpoint, or the folder of a run")
    if not hasattr(options, "images"):
        network = _drawn(name, None, 3, options.pretrained)
        return Network(name, name, name, network, usual_input_sizes(network)[0])
    if not data_options:
        need = "the images: --data.dataset NAME and --data.root DIR, as in `dyc test --help`"
        raise ArgumentError("--data", f"none, and {name} is no checkpoint that knows its data", need)
    data = unread_data(data_options, None)
    network = _drawn(name, data.num_classes, data.in_chans, options.pretrained)
    size = (data.image_size, data.image_size) if data.image_size else usual_input_sizes(network)[0][1:]
    return Network(name, name, name, network, (data.in_chans, *size), knows_size=bool(data.image_size))


def _drawn(name: str, classes: int | None, in_chans: int, pretrained: bool) -> nn.Module:
    torch.manual_seed(0)  # without weights of timm's they are drawn
    return build_network(name, {}, classes, in_chans, pretrained)


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
