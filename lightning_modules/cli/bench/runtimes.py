"""``dyc bench runtimes``: networks in PyTorch, ONNX Runtime and OpenVINO, each beside its static form."""

import sys
from collections.abc import Sequence
from pathlib import Path

import timm

from dyc.benchmark import facts_line, machine
from dyc.benchmark.runtimes import (
    FILE_FORMS,
    RUNTIMES,
    RuntimeCase,
    RuntimeTiming,
    contestants,
    time_runtimes,
    usable_runtimes,
    versions,
)
from dyc.export.onnx_format import check_packages
from lightning_modules.cli.arguments import Parser, check_new_file, one_of, positive, whole
from lightning_modules.cli.bench.report import command_line, conclude
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table
from ops import ArgumentError

DEFAULT = ("mobilenetv2_cifar", "dyc_mobilenetv2_cifar")
NOTES = (
    "Medians in one run of all contestants. Ratios are to the first network in the same runtime, files in 8-bit "
    "integers to its file in 8-bit integers. PyTorch runs channels_last; OpenVINO compiles for the batch and size."
)


def _parser() -> Parser:
    about = "Time exported networks in their runtimes, beside PyTorch and beside the static network."
    parser = Parser(prog="dyc bench runtimes", description=about)
    parser.set_defaults(plot=None)
    chosen = parser.add_argument_group("what is compared")
    known = one_of(timm.list_models(), "a timm name, as `dyc models` lists them")
    chosen.add_argument(
        "models", nargs="*", metavar="MODEL", type=known, default=list(DEFAULT),
        help=f"timm names, the static network first (default: {' '.join(DEFAULT)})",
    )  # fmt: skip
    chosen.add_argument(
        "--runtimes", nargs="+", metavar="NAME", type=one_of(RUNTIMES), default=list(RUNTIMES),
        help=f"{', '.join(RUNTIMES)} (default: those that are installed)",
    )  # fmt: skip
    chosen.add_argument(
        "--forms", nargs="+", metavar="NAME", type=one_of(("auto", *FILE_FORMS)), default=list(FILE_FORMS),
        help="forms of dynamic layers in ONNX files: auto, features, kernels (default: features kernels)",
    )  # fmt: skip
    chosen.add_argument("--no-int8", action="store_true", help="leave out the files in 8-bit integers")
    chosen.add_argument(
        "--batches", nargs="+", metavar="N", type=whole, default=[1, 32], help="batch sizes (default: 1 32)"
    )
    chosen.add_argument(
        "--input-size", metavar="N", type=whole, help="height and width in pixels (default: the first network's)"
    )
    where = parser.add_argument_group("where and how long")
    where.add_argument(
        "--threads", nargs="+", metavar="N", type=whole, default=[1, 2], help="CPU threads (default: 1 2)"
    )
    where.add_argument("--seconds", type=positive, default=20.0, help="seconds per comparison (default: 20)")
    output = parser.add_argument_group("output (existing files are never overwritten)")
    output.add_argument(
        "--csv", type=Path, metavar="FILE", help="write every timing, with machine, versions and command"
    )
    output.add_argument(
        "--markdown", action="store_true", help="print nothing but a Markdown table with machine and command"
    )
    return parser


def runtimes(argv: Sequence[str]) -> None:
    """Run ``dyc bench runtimes``."""
    options = _parser().parse_args(argv[1:])
    check_new_file("--csv", options.csv)
    check_packages()
    usable = usable_runtimes(options.runtimes)
    for name in options.runtimes:
        if name not in usable:
            print(f"{name} is left out: it is not installed (pip install {name})", file=sys.stderr)
    if not usable:  # known before minutes are spent on exports
        raise ArgumentError("--runtimes", f"{' '.join(options.runtimes)}, not installed", "one that is")
    size = options.input_size or timm.create_model(options.models[0]).default_cfg["input_size"][-1]
    facts = {**machine(), **versions(usable), "command": command_line(argv)}
    facts.pop("threads")
    if not options.markdown:
        print(facts_line(facts), flush=True)
    cases = [RuntimeCase(b, size, t, options.seconds) for t in options.threads for b in options.batches]
    found: list[list[RuntimeTiming]] = []
    making = {
        "forms": options.forms,
        "int8": not options.no_int8,
        "progress": lambda step: print(step, file=sys.stderr),
    }
    with (
        contestants(options.models, size, **making) as networks,
        CsvFile(options.csv, facts) as rows,
        Progress(len(cases)) as progress,
    ):
        for case in cases:
            progress.at(case)
            found.append(time_runtimes(case, networks, usable))
            rows.write([_row(t) for t in found[-1]])
            if not options.markdown:
                progress.show(_table([found[-1]], str(case)))
    conclude(options, facts, _table(found), NOTES)


def _row(t: RuntimeTiming) -> dict[str, object]:
    return {
        "threads": t.case.threads,
        "batch": t.case.batch,
        "size": t.case.size,
        "runtime": t.runtime,
        "network": t.network,
        "form": t.form,
        "median_ms": t.median_ms,
        "p20_ms": t.p20_ms,
        "p80_ms": t.p80_ms,
        "ratio": t.ratio,
    }


def _table(found: Sequence[Sequence[RuntimeTiming]], title: str = "") -> Table:
    """Return one row per contestant and case."""
    labels = ["runtime", "network", "form"] if title else ["threads", "batch", "runtime", "network", "form"]
    result = Table([*labels, "ms", "p20 to p80", "x static"], len(labels), title=title)
    for t in (t for group in found for t in group):
        head = [] if title else [str(t.case.threads), str(t.case.batch)]
        times = [f"{t.median_ms:.2f}", f"{t.p20_ms:.2f} to {t.p80_ms:.2f}", f"{t.ratio:.2f}"]
        result.rows.append([*head, t.runtime, t.network, t.form, *times])
    return result
