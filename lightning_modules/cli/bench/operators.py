"""``dyc bench ops`` and ``dyc bench layers``: comparisons over lists of shapes."""

import argparse
import itertools
from collections.abc import Callable, Sequence

import torch

from dyc import benchmark
from dyc.benchmark import (
    ATTENTIONS,
    COPY,
    DIRECTIONS,
    GROUPED,
    LAYOUTS,
    PEER,
    SHAPE_BATCHES,
    SHAPES,
    STATIC,
    STATIC_LAST,
    Case,
    Timing,
)
from lightning_modules.cli.arguments import Parser, odd, one_of, whole
from lightning_modules.cli.bench.report import command_line, conclude
from lightning_modules.cli.bench.shared_options import add_backends, check_common, chosen_backends, common
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table

TITLES = {STATIC: "x static", STATIC_LAST: "x static ch.-last", COPY: "x copy", "memory": "memory x static"}
DTYPES = ("float32", "bfloat16", "float16")


def _parser(what: str, description: str, layouts: Sequence[str], backends: str) -> Parser:
    parser, chosen = common(what, description, seconds=0.5, dtypes=DTYPES)
    several = {"nargs": "+", "metavar": "NAME"}
    lists = ["mobilenetv2_32", "mobilenetv2_224"]
    kept = "; ".join(f"{name}: {' and '.join(map(str, SHAPE_BATCHES[name]))}" for name in SHAPES)
    chosen.add_argument(
        "--shapes", **several, type=one_of(SHAPES), default=lists,
        help=f"lists of shapes: {', '.join(SHAPES)} (default: {' '.join(lists)}); report: the DYC report's Table 4",
    )  # fmt: skip
    chosen.add_argument("--batches", nargs="+", metavar="N", type=whole, help=f"batch sizes (default: {kept})")
    chosen.add_argument(
        "--layouts", **several, type=one_of(LAYOUTS), default=layouts,
        help=f"memory formats: {', '.join(LAYOUTS)} (default: {' '.join(layouts)})",
    )  # fmt: skip
    chosen.add_argument(
        "--directions", **several, type=one_of(DIRECTIONS), default=DIRECTIONS,
        help=f"{', '.join(DIRECTIONS)} (default: both); backward computes every gradient",
    )  # fmt: skip
    chosen.add_argument(
        "--kernel", metavar="N", type=odd, default=3,
        help="height and width of the kernels, odd (default: 3); the padding keeps the size of the features",
    )  # fmt: skip
    chosen.add_argument("--dilation", metavar="N", type=whole, default=1, help="pixels between taps (default: 1)")
    if what == "layers":
        chosen.add_argument(
            "--attentions", **several, type=one_of(ATTENTIONS), default=ATTENTIONS,
            help="dy: one weight per kernel, dyc: one per kernel and channel (default: both)",
        )  # fmt: skip
    add_backends(chosen, backends)
    return parser


def ops(argv: Sequence[str]) -> None:
    """Run ``dyc bench ops``."""
    about = "Time the depthwise operator of every backend."
    options = _parser("ops", about, list(LAYOUTS), "all").parse_args(argv[1:])
    _run(options, argv, GROUPED, benchmark.time_operators)


def layers(argv: Sequence[str]) -> None:
    """Run ``dyc bench layers``."""
    about = "Time the dynamic depthwise layer, attention included: four kernels, no bias, as in MobileNetV2."
    options = _parser("layers", about, ["channels_last"], "auto").parse_args(argv[1:])
    _run(options, argv, PEER, lambda case, names: benchmark.time_layers(case, names, options.attentions))


def _run(
    options: argparse.Namespace,
    argv: Sequence[str],
    rival: str,
    time_case: Callable[[Case, tuple[str, ...]], list[Timing]],
) -> None:
    check_common(options)
    window = {"kernel": options.kernel, "dilation": options.dilation}
    names = chosen_backends(options, **window)
    facts = {**benchmark.machine(), "command": command_line(argv)}
    cases = benchmark.cases(
        options.shapes,
        batches=options.batches,
        layouts=options.layouts,
        directions=options.directions,
        device=options.device,
        dtype=getattr(torch, options.dtype),
        seconds=options.seconds,
        **window,
    )
    if not options.markdown:
        print(benchmark.facts_line(facts), flush=True)
    timings: list[Timing] = []
    with CsvFile(options.csv, facts) as rows, Progress(len(cases)) as progress:
        for group, members in itertools.groupby(cases, key=_group):
            found = []
            for case in members:
                progress.at(case)
                found.append(time_case(case, names))
                rows.write([_row(t, rival) for t in found[-1]])
            timings += itertools.chain.from_iterable(found)
            if not options.markdown:
                progress.show(_per_shape(group, found))
    table, notes = _summary(timings, rival), _notes(rival, options.device)
    if not options.markdown:
        print(table, end="\n\n")
    conclude(options, facts, table, notes)
    if options.plot is not None:
        from lightning_modules.cli.bench.plots import plot_shapes

        plot_shapes(options.plot, timings, facts)


def _notes(rival: str, device: str) -> str:
    what = (
        "grouped: the batch folded into the groups of one convolution, on NCHW features; copy: moves as many bytes"
        if rival == GROUPED
        else "peer: the public formulation with the same attention, on NCHW features"
    )
    counted = "PyTorch's CUDA allocator holds"
    if device == "cpu":
        counted = "PyTorch's CPU allocator holds (C++ scratch not included)"
    return (
        f"Ratios of medians within one run, geometric means over the network's layers; below 1 is faster. {what}; "
        f"memory: bytes that {counted} at the peak of a call."
    )


def _group(case: Case) -> tuple[str, int, str, str]:
    return case.shapes, case.batch, case.layout, case.direction


def _row(t: Timing, rival: str) -> dict[str, object]:
    case = t.case
    channels, size, stride = case.shape
    head = {"shapes": case.shapes, "batch": case.batch, "channels": channels, "size": size, "stride": stride}
    head |= {"kernel": case.kernel, "dilation": case.dilation}
    head |= {"layout": case.layout, "direction": case.direction, "dtype": str(case.dtype).removeprefix("torch.")}
    head |= {"device": case.device, "contestant": t.contestant}
    times = {"median_ms": t.median_ms, "p20_ms": t.p20_ms, "p80_ms": t.p80_ms, "peak_mib": t.peak_mib}
    keys = (STATIC, STATIC_LAST, rival, *([COPY] if rival == GROUPED else []))
    ratios = {f"to_{key.replace(' ', '_')}": t.ratios.get(key, "") for key in keys}
    return {**head, **times, **ratios, "memory_to_static": t.ratios.get("memory", "")}


def _per_shape(group: tuple[str, int, str, str], found: list[list[Timing]]) -> Table:
    """Return milliseconds and ratios to static of all contestants, one row per shape."""
    shapes, batch, layout, direction = group
    names = [t.contestant for t in found[0]]
    head = f"{shapes}, {found[0][0].case.taps} kernels, batch {batch}, {layout}, {direction}"
    result = Table(["C x H x W / stride", *names], 1, title=f"{head}: median ms (x static)")
    for timings in found:
        channels, size, stride = timings[0].case.shape
        cells = [f"{t.median_ms:.3f} ({t.ratios[STATIC]:.2f})" for t in timings]
        result.rows.append([f"{channels} x {size} x {size} / {stride}", *cells])
    return result


def _summary(timings: list[Timing], rival: str) -> Table:
    """Return the geometric means of all ratios."""
    found = benchmark.means(timings)
    keys = [STATIC, *([STATIC_LAST] if any(t.case.layout != "channels_last" for t in timings) else []), rival]
    keys += [*([COPY] if any(COPY in ratios for ratios in found.values()) else []), "memory"]
    columns = ["shapes", "batch", "layout", "direction", "contestant", *(TITLES.get(k, f"x {k}") for k in keys)]
    result = Table(columns, 5, title="geometric means")
    before = None
    for (shapes, layout, batch, direction, name), ratios in found.items():
        label = (shapes, str(batch), layout, direction)
        if before is not None and label != before:
            result.rows.append(None)
        before = label
        if name != STATIC:
            cells = [f"{ratios[k]:.2f}" if k in ratios else "-" for k in keys]
            result.rows.append([*label, name, *cells])
    return result
