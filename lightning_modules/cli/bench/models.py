"""``dyc bench models``: whole networks, inference and training steps."""

import argparse
from collections.abc import Sequence

import timm
import torch

from dyc.benchmark import (
    DEFAULT_MODELS,
    INFERENCE,
    LAYOUTS,
    MODEL_BATCHES,
    MODES,
    ModelCase,
    ModelTiming,
    facts_line,
    machine,
    time_models,
)
from lightning_modules.cli.arguments import Parser, one_of, whole
from lightning_modules.cli.bench.report import command_line, conclude
from lightning_modules.cli.bench.shared_options import add_backends, check_common, chosen_backends, common
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.progress import Progress
from lightning_modules.cli.tables import Table
from ops import ArgumentError

NOTES = (
    "Medians in one run, the first network being the baseline. memory: parameters, buffers, momentum, images, and what "
    "a call takes on top at its peak. floor, for dynamic forms of the baseline: the baseline plus the time to read the "
    "parameters of the attention once."
)


def _parser() -> Parser:
    about = "Time networks: inference, and training steps (cross-entropy, backward, SGD with momentum)."
    parser, chosen = common("models", about, seconds=20.0, dtypes=("float32", "bfloat16"))
    known = one_of(timm.list_models(), "a timm name, as `dyc models` lists them")
    chosen.add_argument(
        "models", nargs="*", metavar="MODEL", type=known,
        help=f"timm names, the baseline first (default: {' '.join(DEFAULT_MODELS)})",
    )  # fmt: skip
    chosen.add_argument(
        "--mode",
        nargs="+",
        metavar="NAME",
        type=one_of(MODES),
        default=MODES,
        help=f"{', '.join(MODES)} (default: both)",
    )
    chosen.add_argument("--batches", nargs="+", metavar="N", type=whole, help="batch sizes of inference (default: 1)")
    chosen.add_argument(
        "--train-batches", nargs="+", metavar="N", type=whole, help="batch sizes of training (default: 128)"
    )
    chosen.add_argument(
        "--input-size", nargs="+", metavar="N", type=whole, help="height and width in pixels (default: the baseline's)"
    )
    chosen.add_argument(
        "--layout",
        type=one_of(LAYOUTS),
        default="channels_last",
        help=f"memory format: {', '.join(LAYOUTS)} (default: channels_last)",
    )
    chosen.add_argument("--compile", action="store_true", help="torch.compile every network, which takes minutes")
    chosen.add_argument("--cuda-graph", action="store_true", help="replay inference as a CUDA graph")
    add_backends(chosen, "auto")
    return parser


def models(argv: Sequence[str]) -> None:
    """Run ``dyc bench models``."""
    options = _parser().parse_args(argv[1:])
    names = options.models or list(DEFAULT_MODELS)
    check_common(options)
    if options.cuda_graph and options.device != "cuda":
        raise ArgumentError("--cuda-graph", f"--device {options.device}", "--device cuda")
    cases = _cases(options, names)
    backends = chosen_backends(options)
    facts = {**machine(), "command": command_line(argv)}
    if not options.markdown:
        print(facts_line(facts), flush=True)
    timings: list[list[ModelTiming]] = []
    with CsvFile(options.csv, facts) as rows, Progress(len(cases)) as progress:
        for case in cases:
            progress.at(case)
            timings.append(time_models(case, names, backends))
            rows.write([_row(t) for t in timings[-1]])
            if not options.markdown:
                progress.show(_table([timings[-1]], str(case)))
    conclude(options, facts, _table(timings), NOTES)
    if options.plot is not None:
        from lightning_modules.cli.bench.plots import plot_models

        plot_models(options.plot, timings, facts)


def _cases(options: argparse.Namespace, names: Sequence[str]) -> list[ModelCase]:
    """List what is timed, every network being able to take every size."""
    own = timm.create_model(names[0]).default_cfg["input_size"][-1]
    sizes = options.input_size or [own]
    for size in sizes:
        for name in names:
            _check_size(name, size)
    batches = {**MODEL_BATCHES}
    for mode, given in zip(MODES, (options.batches, options.train_batches)):
        batches[mode] = given or batches[mode]
    common = {"layout": options.layout, "device": options.device, "dtype": getattr(torch, options.dtype)}
    common |= {"compiled": options.compile, "cuda_graph": options.cuda_graph, "seconds": options.seconds}
    modes = [mode for mode in MODES if mode in options.mode]
    found = [ModelCase(mode, batch, size, **common) for mode in modes for size in sizes for batch in batches[mode]]
    return list(dict.fromkeys(found))


def _check_size(name: str, size: int) -> None:
    """Raise unless a network takes images of a size; nothing is computed."""
    model = timm.create_model(name).to("meta").eval()
    try:
        with torch.no_grad():
            model(torch.empty(1, model.default_cfg["input_size"][0], size, size, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentError("--input-size", size, f"a size that {name} takes ({reason})") from error


def _row(t: ModelTiming) -> dict[str, object]:
    case = t.case
    return {
        "mode": case.mode,
        "batch": case.batch,
        "size": case.size,
        "layout": case.layout,
        "device": case.device,
        "dtype": str(case.dtype).removeprefix("torch."),
        "compiled": case.compiled,
        "cuda_graph": case.cuda_graph and case.mode == INFERENCE,
        "contestant": t.contestant,
        "parameters": t.parameters,
        "attention_parameters": t.attention_parameters,
        "median_ms": t.median_ms,
        "p20_ms": t.p20_ms,
        "p80_ms": t.p80_ms,
        "peak_mib": t.peak_mib,
        "to_baseline": t.ratios["time"],
        "memory_to_baseline": t.ratios["memory"],
        "attention_read_ms": t.floor_ms or "",
        "floor_to_baseline": t.ratios.get("floor", ""),
    }


def _table(timings: list[list[ModelTiming]], title: str = "") -> Table:
    """Return one row per network and case."""
    columns = ["ms", "p20 to p80", "x baseline", "floor", "attention read, ms", "peak MiB", "memory x"]
    labels = ["network"] if title else ["mode", "batch", "pixels", "network"]
    result = Table([*labels, *columns], len(labels), title=title)
    for t in (t for group in timings for t in group):
        floor = [f"{t.ratios['floor']:.3f}", f"{t.floor_ms:.3f}"] if "floor" in t.ratios else ["-", "-"]
        times = [f"{t.median_ms:.3f}", f"{t.p20_ms:.3f} to {t.p80_ms:.3f}", f"{t.ratios['time']:.3f}"]
        head = [t.contestant] if title else [t.case.mode, str(t.case.batch), str(t.case.size), t.contestant]
        result.rows.append([*head, *times, *floor, f"{t.peak_mib:.1f}", f"{t.ratios['memory']:.3f}"])
    return result
