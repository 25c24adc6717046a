"""``dyc bench ops``: how fast every backend is on this machine, beside the static and the grouped convolution."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from ops import benchmark, check_backend_name
from ops.errors import ArgumentError


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(prog="dyc bench", description="Time the operators; ratios within one run count.")
    result.add_argument("what", choices=["ops"], help="ops: the depthwise operator, every backend")
    result.add_argument("--shapes", nargs="+", default=["mobilenetv2_32", "mobilenetv2_224"], choices=benchmark.SHAPES)
    result.add_argument("--batches", nargs="+", type=int, default=[1, 32], help="batch sizes (default: 1 32)")
    result.add_argument("--layouts", nargs="+", default=["channels_last", "nchw"], choices=["channels_last", "nchw"])
    directions = ["forward", "forward+backward"]
    result.add_argument("--directions", nargs="+", default=directions, choices=directions)
    result.add_argument("--backends", nargs="+", help="backends (default: all that can run here)")
    result.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    result.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    result.add_argument("--seconds", type=float, default=0.5, help="time for each shape (default: 0.5)")
    result.add_argument("--csv", type=Path, help="file for every timing (must not exist)")
    return result


def main(argv: Sequence[str]) -> None:
    """Run ``dyc bench ...``; ``argv`` starts with the command's name."""
    options = parser().parse_args(argv[1:])
    for name in options.backends or ():
        check_backend_name(name, "--backends")
    if options.csv is not None and options.csv.exists():
        raise ArgumentError("--csv", repr(str(options.csv)), "a file that does not exist yet")
    facts = benchmark.machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{'shape':<28}{'direction':<18}{'contestant':<12}{'ms':>9}{'/ static':>10}{'/ grouped':>11}")
    timings = []
    for shapes in options.shapes:
        for t in benchmark.benchmark_ops(
            shapes,
            batches=tuple(options.batches),
            layouts=tuple(options.layouts),
            directions=tuple(options.directions),
            names=tuple(options.backends) if options.backends else None,
            device=options.device,
            dtype=getattr(torch, options.dtype),
            seconds=options.seconds,
        ):
            timings.append(t)
            shape = f"{t.batch}x{t.channels}x{t.size}x{t.size}/{t.stride} {t.layout[:8]}"
            times = f"{t.median_ms:>9.3f}{t.to_static:>10.2f}{t.to_grouped:>11.2f}"
            print(f"{shape:<28}{t.direction:<18}{t.contestant:<12}{times}", flush=True)
    print("\ngeometric means (below 1: faster)")
    for (shapes, layout, batch, direction, name), (static, grouped) in benchmark.geometric_means(timings).items():
        if name != benchmark.STATIC:
            where = f"{shapes} {layout} batch {batch}"
            print(f"{where:<42}{direction:<18}{name:<12}{static:>7.2f} x static{grouped:>7.2f} x grouped")
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*benchmark.columns(), *facts])
            writer.writeheader()
            writer.writerows({**benchmark.as_row(t), **facts} for t in timings)
        print(f"every timing: {options.csv}")
