"""``dyc bench selective``: networks that close and re-use channels, beside the plain ones."""

from collections.abc import Sequence

import timm
import torch

from dyc.benchmark import LAYOUTS, SelectiveCase, SelectiveTiming, facts_line, machine, time_selective
from lightning_modules.cli.arguments import Parser, one_of, share, whole
from lightning_modules.cli.bench.report import command_line, conclude
from lightning_modules.cli.bench.shared_options import check_common, common
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table
from ops import ArgumentError

NOTES = (
    "Medians in one run; ratios are to the first row of each group. plain: the same network without selective layers. "
    "The channels that are closed or re-used are those of the lowest score in every layer."
)


def _parser() -> Parser:
    about = "Time networks with selective layers: training, inference closed and compact, and the rewiring itself."
    parser, chosen = common("selective", about, seconds=20.0, dtypes=("float32", "bfloat16"))
    known = one_of(timm.list_models(), "a timm name, as `dyc models 'select_*'` lists them")
    chosen.add_argument(
        "models", nargs="*", metavar="MODEL", type=known, default=["select_densenet40"],
        help="timm names (default: select_densenet40)",
    )  # fmt: skip
    chosen.add_argument("--batch", type=whole, default=64, metavar="N", help="batch size (default: 64)")
    chosen.add_argument(
        "--input-size", type=whole, metavar="N", help="height and width in pixels (default: the network's own)"
    )
    chosen.add_argument(
        "--share",
        type=share,
        default=0.25,
        metavar="S",
        help="share of the channels to close or re-use, from 0 to below 1 (default: 0.25)",
    )
    chosen.add_argument(
        "--layout",
        type=one_of(LAYOUTS),
        default="channels_last",
        help=f"memory format: {', '.join(LAYOUTS)} (default: channels_last)",
    )
    return parser


def selective(argv: Sequence[str]) -> None:
    """Run ``dyc bench selective``."""
    options = _parser().parse_args(argv[1:])
    check_common(options)
    if options.plot is not None:
        raise ArgumentError("--plot", sentence="this comparison has no picture; use --csv or --markdown")
    facts = {**machine(), "command": command_line(argv)}
    if not options.markdown:
        print(facts_line(facts), flush=True)
    found: list[tuple[SelectiveCase, list[SelectiveTiming]]] = []
    with CsvFile(options.csv, facts) as rows, Progress(len(options.models)) as progress:
        for name in options.models:
            size = options.input_size or timm.models.get_pretrained_cfg(name).input_size[-1]
            rest = (options.layout, options.device, getattr(torch, options.dtype), options.seconds)
            case = SelectiveCase(name, options.batch, size, options.share, *rest)
            progress.at(name)
            found.append((case, time_selective(case)))
            rows.write([_row(case, t) for t in found[-1][1]])
            if not options.markdown:
                progress.show(_table([found[-1]]))
    conclude(options, facts, _table(found), NOTES)


def _row(case: SelectiveCase, t: SelectiveTiming) -> dict[str, object]:
    return {
        "model": case.model,
        "mode": t.mode,
        "contestant": t.contestant,
        "batch": case.batch,
        "size": case.size,
        "layout": case.layout,
        "device": case.device,
        "dtype": str(case.dtype).removeprefix("torch."),
        "parameters": t.parameters,
        "median_ms": t.measurement.median_ms,
        "p20_ms": t.measurement.p20_ms,
        "p80_ms": t.measurement.p80_ms,
        "ratio": t.ratio,
    }


def _table(found: list[tuple[SelectiveCase, list[SelectiveTiming]]]) -> Table:
    """Return one row per contestant."""
    result = Table(["network", "what", "contestant", "parameters", "ms", "p20 to p80", "ratio"], 3)
    for case, timings in found:
        for t in timings:
            m = t.measurement
            times = [f"{m.median_ms:.1f}", f"{m.p20_ms:.1f} to {m.p80_ms:.1f}", f"{t.ratio:.3f}"]
            result.rows.append([case.model, t.mode, t.contestant, f"{t.parameters:,}", *times])
    return result
