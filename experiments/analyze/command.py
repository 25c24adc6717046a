"""``dyc analyze``: find the analysis, read its options, run it, and write what it made into a new folder."""

import shlex
from collections.abc import Sequence
from datetime import date
from importlib import import_module

from experiments.analyze.found import analyses
from experiments.analyze.parser import analysis_parser, named_as_options, usage, without_data_options
from lightning_modules.errors import unknown_name


def main(argv: Sequence[str]) -> None:
    """Run ``dyc analyze ...``; ``argv`` starts with the command's name."""
    if len(argv) < 2 or argv[1] in ("-h", "--help"):
        print(usage(), end="")
        raise SystemExit(0 if len(argv) > 1 else 2)
    known = analyses()
    if argv[1] not in known:
        raise unknown_name("ANALYSIS", argv[1], known)
    found = known[argv[1]]
    analysis = import_module(found.module)
    rest, data = without_data_options(argv[2:])
    parser = analysis_parser(found, analysis.add_options)
    options = parser.parse_intermixed_args(rest)

    import torch

    from dyc.benchmark import machine
    from experiments.analyze.job import Job
    from experiments.analyze.output import new_folder, written

    folder = new_folder(getattr(options, "output", None), found.name)
    if hasattr(options, "threads"):
        torch.set_num_threads(options.threads)  # before the machine is described
    facts = {"command": shlex.join(["dyc", *argv]), "date": date.today().isoformat(), **machine()}
    with named_as_options(parser), written(folder) as output:
        output.table("about", [{"fact": name, "value": value} for name, value in facts.items()])
        analysis.run(Job(found, options, data, output))
    print(f"\nwritten to {folder}: {', '.join(output.names)}")


def names() -> list[str]:
    """Return what a shell offers to complete: the analyses."""
    return list(analyses())
