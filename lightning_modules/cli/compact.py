"""``dyc compact``: a trained selective network without its closed channels, and what that saves."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dyc
from dyc.benchmark import facts_line, machine, measure
from dyc.export.programs import SUFFIX, save_pt2
from dyc.export.weights import save_weights
from dyc.meta_device import usual_input_sizes
from dyc.selective import compact, iter_selective
from lightning_modules.classifier import ImageClassifier
from lightning_modules.cli.arguments import check_new_file
from lightning_modules.cli.imports import import_from_run, import_given
from lightning_modules.cli.parsers import compact_parser
from lightning_modules.cli.tables import Table
from lightning_modules.runs import find_checkpoint, read_checkpoint
from lightning_modules.trained_card import card_of
from lightning_modules.trained_preparation import preparation_of
from ops import ArgumentError


def main(argv: Sequence[str]) -> None:
    """Run ``dyc compact ...``; ``argv`` starts with the command's name."""
    options = compact_parser().parse_args(argv[1:])
    _check_output(options)
    path = find_checkpoint(options.ckpt_path, options.runs, options.name)
    checkpoint = read_checkpoint(path)
    if not import_given(options):
        import_from_run(path, options.runs, checkpoint.get("imports", []))
    size = checkpoint.get("datamodule_hyper_parameters", {}).get("image_size")
    trained = ImageClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    network = trained.evaluated.eval()
    pixels = size or usual_input_sizes(network)[0][-1]
    image = (trained.in_chans, pixels, pixels)
    smaller = compact(network, keep_below=options.keep_below, input_size=image).eval()
    print(facts_line(machine()))
    x = torch.randn(options.batch, *image).contiguous(memory_format=torch.channels_last)
    _compare(trained.model_name, network, smaller, x, options.seconds)
    if options.output is not None:
        _write(smaller, options.output, image, path, checkpoint)


def _check_output(options: argparse.Namespace) -> None:
    check_new_file("--output", options.output)
    if options.output is not None and options.output.suffix not in (SUFFIX, ""):
        need = f"a file name that ends with {SUFFIX}, or a folder of weights, without an ending"
        raise ArgumentError("--output", repr(str(options.output)), need)


def _write(
    network: nn.Module, output: Path, image: tuple[int, int, int], path: Path, checkpoint: dict[str, Any]
) -> None:
    """Write the compact network as a program or as a folder of weights."""
    preparation = {"input_size": image} | preparation_of(checkpoint)
    if output.suffix == SUFFIX:
        written = save_pt2(network, output, image=image, preparation=preparation)
        print(f"compact network: {output} (torch.export.load); {written}")
        return
    save_weights(network, output, preparation=preparation, card=card_of(path, checkpoint))
    print(f'compact network: {output} (import dyc; timm.create_model("local-dir:{output}", pretrained=True))')


@torch.no_grad()
def _compare(name: str, network: nn.Module, smaller: nn.Module, x: Tensor, seconds: float) -> None:
    both = {name: network, "compact": smaller}
    for each in both.values():
        each.to(memory_format=torch.channels_last)
    times = measure({label: partial(each, x) for label, each in both.items()}, seconds=seconds)
    table = Table(["network", "parameters", "MACs", f"ms, batch {len(x)}", "ratio"], 1)
    for label, each in both.items():
        counts, ms = dyc.profile(each, tuple(x.shape[1:])), times[label].median_ms
        ratio = f"{ms / times[name].median_ms:.3f}"
        table.rows.append([label, f"{counts.parameters:,}", f"{counts.macs:,}", f"{ms:.1f}", ratio])
    print(table, end="\n\n")
    masks = [layer.mask for _, layer in iter_selective(network)]
    closed, channels = sum(int((~mask).sum()) for mask in masks), sum(mask.numel() for mask in masks)
    reused = sum(layer.slots.shape[0] for _, layer in iter_selective(network))
    outputs = network(x)
    difference = float((smaller(x) - outputs).abs().max() / outputs.abs().max())
    print(
        f"{closed:,} of {channels:,} input channels are closed, {reused:,} re-allocated; "
        f"outputs differ by {difference:.1e} of the largest"
    )
