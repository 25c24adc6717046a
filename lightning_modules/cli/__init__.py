"""The console script ``dyc``: pick the command, and report what cannot be used in one line."""

import os
import select
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from lightning_modules.errors import unknown_name

COMMANDS = {
    "fit": ("lightning_modules.cli.training", "train a network, then test it"),
    "validate": ("lightning_modules.cli.training", "evaluate a checkpoint on the validation split"),
    "test": ("lightning_modules.cli.training", "evaluate a checkpoint on the test split"),
    "predict": ("lightning_modules.cli.predict", "name the most probable classes of images, in CSV or JSON Lines"),
    "compact": ("lightning_modules.cli.compact", "remove the closed channels of a trained selective network"),
    "export": ("lightning_modules.cli.export", "write a network as a file that other programs run, such as ONNX"),
    "compare": ("experiments.compare.command", "compare training runs, those of several seeds as one"),
    "models": ("lightning_modules.cli.models", "list the networks with parameters and MACs"),
    "build": ("lightning_modules.cli.build", "compile the C++ kernels ahead of their first use"),
    "bench": ("lightning_modules.cli.bench", "time operators, layers and networks on this machine"),
    "run": ("experiments.run.command", "measure rows of the papers' tables, and keep the figures"),
    "analyze": ("experiments.analyze.command", "draw what networks do inside: correlation, attention, latency, ..."),
    "report": ("experiments.report.command", "write a page of the papers' figures and claims beside what was measured"),
}
"""Every command: the module whose ``main(argv)`` runs it, and what it does."""


def usage() -> str:
    """Return the text of ``dyc --help``."""
    rows = "\n".join(f"  {name:<10}{summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "usage: dyc COMMAND [options]      dyc COMMAND --help      dyc --version\n"
        "       dyc --install-completion\n\n"
        "Dynamic convolution: train, evaluate and compare networks whose kernels adapt to each input.\n\n"
        f"commands:\n{rows}\n\n"
        "examples:\n"
        "  dyc fit --config experiments/quickstart.yaml\n"
        "  dyc fit --config experiments/dyc_report/cifar10_dyc.yaml --data.download true\n"
        "  dyc fit --config experiments/quickstart.yaml --ckpt_path last --trainer.max_epochs 30\n"
        "  dyc models '*cifar*'\n"
    )


def _fit(argv: Sequence[str]) -> ModuleType:
    """Return the module that trains, with one seed or with several."""
    from lightning_modules.cli.jobs import seeds  # with YAML, which other commands need not wait for

    return seeds if seeds.wanted(argv) else import_module(COMMANDS["fit"][0])


def _nobody_reads() -> bool:
    """Tell whether stdout is a pipe that its reader has closed, such as ``head``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: the command's, or 2 for an error that the user can put right.

    Without ``argv``, as the console script calls it, Ctrl-C shows no traceback. The process still ends by the signal,
    and not by ``sys.exit(130)``: a shell shows 130 for both, but goes on with its loop after the latter.
    """
    console = argv is None
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(f"dyc {version('dyc')}")
        return 0
    if argv[0] in ("models", "compact", "export") and {"-h", "--help"} & set(argv[1:]):
        from lightning_modules.cli.parsers import PARSERS

        PARSERS[argv[0]]().parse_args(["--help"])  # exits, before anything that takes seconds to import
    try:
        if argv[0] == "--install-completion":
            from lightning_modules.cli.completion import install

            install()
            return 0
        if argv[0] not in COMMANDS:
            raise unknown_name("command", argv[0], COMMANDS)
        command = import_module(COMMANDS[argv[0]][0]) if argv[0] != "fit" else _fit(argv)
        status = command.main(argv) or 0
        if console:
            sys.stdout.flush()  # here rather than at the interpreter's end, which would complain
        return status
    except BrokenPipeError:
        if not (console and _nobody_reads()):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        from lightning_modules.cli.errors import said_by_another, user_error

        line = user_error(error)
        if line is None:
            raise
        if not said_by_another(error):
            print(f"dyc {argv[0]}: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if console:
            sys.excepthook = lambda *_: None
        raise
