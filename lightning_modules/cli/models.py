"""``dyc models``: every network with its parameters and MACs."""

import argparse
import csv
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

import timm

import dyc
from ops.errors import unknown_name


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(prog="dyc models", description="List networks with parameters and MACs per image.")
    result.add_argument("filter", nargs="?", default="*", help="names to list, with wildcards (default: all)")
    result.add_argument(
        "--timm", action="store_true", help="choose among all of timm's models, not this package's only"
    )
    result.add_argument("--num-classes", type=int, help="classes (default: each network's own, 10 or 1000)")
    result.add_argument("--image-size", type=int, help="height and width in pixels (default: each network's own)")
    result.add_argument("--layers", action="store_true", help="print one row per layer as well")
    result.add_argument("--csv", action="store_true", help="print comma-separated values")
    return result


def main(argv: Sequence[str]) -> None:
    """Run ``dyc models ...``; ``argv`` starts with the command's name."""
    options = parser().parse_args(argv[1:])
    names = timm.list_models() if options.timm else dyc.models.model_names()
    chosen = [name for name in names if fnmatch(name, options.filter)]
    if not chosen:
        raise unknown_name("filter", options.filter, names, listing="a pattern that matches a network, as '*cifar*'")
    header = ("model", "parameters", "macs", "mixing_macs", "image_size", "num_classes")
    if options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(header)
    else:
        width = max(len(name) for name in chosen)
        print(f"{'model':<{width}}{'parameters':>14}{'MACs':>18}{'mixing MACs':>14}{'pixels':>8}{'classes':>9}")
    for name in chosen:
        kwargs = {} if options.num_classes is None else {"num_classes": options.num_classes}
        model = timm.create_model(name, **kwargs)
        channels, height, width_pixels = model.default_cfg["input_size"]
        height, width_pixels = (options.image_size or height), (options.image_size or width_pixels)
        counts = dyc.profile(model, (channels, height, width_pixels))
        row = (name, counts.parameters, counts.macs, counts.mixing_macs, height, model.num_classes)
        if options.csv:
            writer.writerow(row)
        else:
            print(
                f"{name:<{width}}{row[1]:>14,}{row[2]:>18,}{row[3]:>14,}{height:>8}{model.num_classes:>9}", flush=True
            )
        if options.layers:
            print(counts)
