"""``dyc bench WHAT``: how fast everything is on this machine, beside its static counterpart."""

from collections.abc import Sequence
from importlib import import_module

from lightning_modules.cli.imports import import_first

BENCHES = {"ops": "operators", "layers": "operators"} | {n: n for n in ("models", "selective", "runtimes")}
"""Which module of this package has the function of that name, loaded when it is asked for."""

USAGE = """usage: dyc bench ops|layers|models|selective|runtimes [options]      dyc bench ops --help

Time operators, layers or networks. All contestants take turns within one run: compare ratios, not milliseconds
from different runs.

what:
  ops        the depthwise operator of every backend, beside static and grouped convolutions and a copy
  layers     dyc.DynamicConv2d with its attention, beside the static layer and the usual public code
  models     whole networks: inference, and training steps
  selective  networks that close and re-use channels (SelectConv): training, inference, and the rewiring itself
  runtimes   exported networks in ONNX Runtime and OpenVINO, beside PyTorch

With --import FILE.py or --import MODULE, which may be repeated, your own networks and backends take part.

examples:
  dyc bench ops --shapes mobilenetv2_32 --csv ops.csv --plot ops.png
  dyc bench layers --batches 1 32
  dyc bench layers --shapes report --layouts nchw --directions forward      the DYC report's Table 4
  dyc bench models --mode inference --input-size 32 256 512 --layout nchw   the DYC report's Table 3
  dyc bench selective select_densenet40 select_densenet100 --share 0.5
  dyc bench runtimes mobilenetv2_cifar dyc_mobilenetv2_cifar --threads 1 2 --batches 1 32
"""


def main(argv: Sequence[str]) -> None:
    """Run ``dyc bench ...``; ``argv`` starts with the command's name."""
    argv = import_first(argv)
    if len(argv) < 2 or argv[1] in ("-h", "--help"):
        print(USAGE, end="")
        raise SystemExit(0 if len(argv) > 1 else 2)
    if argv[1] not in BENCHES:
        from ops import unknown_name

        raise unknown_name("what", argv[1], BENCHES)
    getattr(import_module(f"{__name__}.{BENCHES[argv[1]]}"), argv[1])(argv[1:])
