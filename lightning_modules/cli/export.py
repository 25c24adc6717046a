"""``dyc export``: a trained network as a file that other programs run."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from timm.data import resolve_model_data_config
from torch import nn

import lightning_modules
from dyc.export import Request, check_format
from dyc.export.model_card import ModelCard
from dyc.export.onnx_format import check_packages
from dyc.meta_device import usual_input_sizes
from dyc.selective import compact, iter_selective
from lightning_modules.cli.arguments import check_new_file
from lightning_modules.cli.given_network import GIVEN, check_not_pretrained, timm_name
from lightning_modules.cli.imports import import_from_run, import_given
from lightning_modules.cli.parsers import export_parser
from lightning_modules.cli.quiet import quiet
from lightning_modules.cli.tables import Table
from lightning_modules.create_network import build_network
from lightning_modules.runs import find_checkpoint, read_checkpoint
from lightning_modules.tasks import TASKS, task_of_checkpoint
from lightning_modules.trained_card import card_of
from lightning_modules.trained_preparation import preparation_of
from ops import ArgumentError


def main(argv: Sequence[str]) -> None:
    """Run ``dyc export ...``; ``argv`` starts with the command's name."""
    options = export_parser().parse_args(argv[1:])
    quiet()
    format = check_format(options.format)
    _check_output(options, format.suffix)
    _check_int8(options)
    imported = import_given(options)
    steps = _Steps()
    licence = {"license": options.license} if options.license else {}
    if _is_checkpoint(options.network):
        network, preparation, card, checkpoint = _trained(options, imported, licence)
    else:
        (network, preparation), card, checkpoint = _named(options), ModelCard(**licence), None
    if options.image_size is not None:
        preparation["input_size"] = [preparation["input_size"][0], *[options.image_size] * 2]
        preparation.pop("resize", None)  # of images that are taken as they are
    if options.compact:
        if not any(True for _ in iter_selective(network)):
            raise ArgumentError("--compact", sentence=f"{options.network} has no selective layers; leave it out")
        network = compact(network, input_size=tuple(preparation["input_size"]))
    size = tuple(preparation["input_size"])
    request = Request(network.eval(), options.output, size, options.form, options.batch, preparation, card, steps)
    try:
        if options.int8:
            from lightning_modules.cli.int8 import RealImages, export_int8  # with data sets, which only this needs

            report, said = export_int8(format, request, RealImages(options, checkpoint, preparation))
        else:
            report = format.save(request)
            said = [report]
    except ArgumentError as error:
        if error.argument in ("folder", "path"):  # which are --output here
            raise ArgumentError(f"--output{str(error).removeprefix(error.argument)}") from error
        raise
    finally:
        steps.end()  # an error has a line of its own
    if getattr(report, "layers", None):
        table = Table(["layer", "kind", "form", "why"], 4)
        table.rows.extend([each.layer, each.kind, each.form, each.why] for each in report.layers)
        print(table, end="\n\n")
    print(*said, sep="\n")


def _check_output(options: argparse.Namespace, suffix: str) -> None:
    check_new_file("--output", options.output, "file" if suffix else "folder")
    if suffix and options.output.suffix != suffix:
        need = f"a file name that ends with {suffix}, as --format is {options.format}"
        raise ArgumentError("--output", repr(str(options.output)), need)


def _check_int8(options: argparse.Namespace) -> None:
    if options.int8:
        if options.format != "onnx":
            raise ArgumentError("--int8", f"--format {options.format}", "--format onnx")
        check_packages()
        return
    for option in ("calibration", "calibration_images", "evaluate", "seed"):
        if getattr(options, option) is not None:
            raise ArgumentError(f"--{option.replace('_', '-')}", sentence="has no meaning without --int8")


def _is_checkpoint(text: str) -> bool:
    return text in ("last", "best") or text.endswith(".ckpt") or Path(text).is_file()


def _trained(
    options: argparse.Namespace, imported: bool, said: dict[str, str]
) -> tuple[nn.Module, dict[str, Any], ModelCard, dict[str, Any]]:
    """Return the network of a checkpoint, how its images were prepared, what a model card says of it, and the rest."""
    check_not_pretrained(options.pretrained)
    path = find_checkpoint(options.network, options.runs, options.name)
    checkpoint = read_checkpoint(path)
    if not imported:
        import_from_run(path, options.runs, checkpoint.get("imports", []))
    module = getattr(lightning_modules, TASKS[task_of_checkpoint(checkpoint)].module)
    trained = module.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    network = trained.evaluated.eval()
    preparation = _preparation(network) | {"class_names": None} | preparation_of(checkpoint)
    preparation["input_size"] = [trained.in_chans, *preparation["input_size"][1:]]
    return network, preparation, card_of(path, checkpoint, **said), checkpoint


def _named(options: argparse.Namespace) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network by its timm name or folder, and how timm prepares its images."""
    name = timm_name(options.network)
    local = name.startswith("local-dir:")
    network = _built(name, options.num_classes, options.pretrained or local)
    if not (options.pretrained or local):
        print(f"note: {name} has random weights; --pretrained takes timm's", file=sys.stderr)
    return network.eval(), _preparation(network)


def _built(name: str, classes: int | None, pretrained: bool) -> nn.Module:
    if classes is None:
        try:
            return timm.create_model(name, pretrained=pretrained)
        except RuntimeError as error:  # of timm, about weights that there are not
            raise ArgumentError(GIVEN, sentence=" ".join(str(error).split())) from error
    return build_network(name, {}, classes, 3, pretrained)


def _preparation(network: nn.Module) -> dict[str, Any]:
    """Return what timm says of the images of a network, or the usual."""
    config = resolve_model_data_config(network)
    size = usual_input_sizes(network)[0]
    names = (getattr(network, "pretrained_cfg", None) or {}).get("label_names")
    channels = size[0]
    return {
        "input_size": list(size),
        "mean": list((tuple(config["mean"]) * channels)[:channels]),
        "std": list((tuple(config["std"]) * channels)[:channels]),
        "interpolation": config["interpolation"],
        "crop_pct": config["crop_pct"],
        "crop_mode": config["crop_mode"],
        "class_names": list(names) if names else None,
        **getattr(network, "preparation", {}),
    }


class _Steps:
    """Says on stderr what is done, and how long each step took."""

    def __init__(self) -> None:
        self.since: float | None = None

    def __call__(self, step: str) -> None:
        self.end()
        print(f"{step} ...", end="", file=sys.stderr, flush=True)
        self.since = time.perf_counter()

    def end(self) -> None:
        """End the line of the last step."""
        if self.since is not None:
            print(f" {time.perf_counter() - self.since:.1f} s", file=sys.stderr)
        self.since = None
