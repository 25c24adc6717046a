"""The parser of ``dyc run``, apart from its work, so that ``--help`` comes at once."""

import argparse
from pathlib import Path

from experiments import RESULTS
from lightning_modules.cli.arguments import Parser, add_runs, seed, whole

PROTOCOLS = ("full", "bf16", "quick")
WAYS = ("train", "count", "latency")


def parser() -> Parser:
    """Return the parser of the command."""
    result = Parser(
        prog="dyc run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure rows of the papers' tables and keep the figures. Without PAPER, list papers and tables.\n"
        "Rows are trained by dyc fit, counted or timed, as their table says. What is done is not run again, and what\n"
        "was interrupted goes on from its checkpoint.",
        epilog="examples:\n"
        "  dyc run\n"
        "  dyc run dyc/table1 --dry_run\n"
        "  dyc run dyc/table1 --protocol quick --seeds 0 1 2 --jobs 2 --data .data --download\n"
        "  dyc run dyc/table1/cifar10/dyc --cluster slurm --cluster_options timeout_min=600 gpus_per_node=1",
    )
    result.add_argument("papers", nargs="*", metavar="PAPER[/TABLE[/ROW]]", help="what to measure")
    result.add_argument(
        "--seeds", nargs="+", type=seed, default=[0], metavar="SEED", help="seeds of trainings (default: 0)"
    )
    result.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="full",
        help="full: the paper's recipe; bf16: the same in bfloat16 and compiled, for a GPU; quick: shortened, for a "
        "laptop (default: full)",
    )
    result.add_argument(
        "--jobs", type=whole, default=1, metavar="N", help="trainings at once, which share cores or GPUs (default: 1)"
    )
    result.add_argument(
        "--only",
        nargs="+",
        choices=WAYS,
        default=list(WAYS),
        help="measure only what is measured in these ways (default: all)",
    )
    result.add_argument("--dry_run", action="store_true", help="list what would run, what is done, and about how long")
    add_runs(result)
    result.add_argument("--results", type=Path, default=RESULTS, help=f"folder of the records (default: {RESULTS})")
    result.add_argument("--data", metavar="ROOT", help="folder of the data (default: that of the recipe)")
    result.add_argument("--download", action="store_true", help="download data that is missing")
    result.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="OPTION=VALUE",
        help="further options of dyc fit that leave the recipe as it is, such as trainer.accelerator=cpu",
    )
    result.add_argument("--cluster", choices=("slurm", "local"), help="submit trainings by submitit (extra: slurm)")
    result.add_argument(
        "--cluster_options",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="options of submitit's AutoExecutor, such as timeout_min=600 slurm_partition=gpu gpus_per_node=1",
    )
    return result
