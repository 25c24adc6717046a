"""Programs that run in a process in which this package cannot be imported."""

import json
import os
import sys
from pathlib import Path

import torch
from support.processes import run
from torch import nn

OUTSIDE = """
import json, sys, torch

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dyc", "ops", "lightning_modules", "experiments", "timm"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
program, cases, kind = sys.argv[1:]
run = torch.export.load(program).module() if kind == "pt2" else torch._inductor.aoti_load_package(program)
found = []
with torch.no_grad():
    for images, want in torch.load(cases, weights_only=True):
        found.append(float((run(images) - want).abs().max() / want.abs().max()))
print(json.dumps(found))
"""


def outside(
    program: Path, network: nn.Module, image: tuple[int, int, int], folder: Path, any_size: bool = True, kind="pt2"
) -> list[float]:
    """Return how far outputs are from the network's in a process that cannot import this package.

    Memory that is read before anything was written to it has bytes that would show: glibc fills it.
    """
    channels, height, width = image
    sizes = [(batch, *image) for batch in (1, 3, 8)]
    if any_size:
        sizes.append((2, channels, height + 8, width + 24))
    images = [torch.randn(size) for size in sizes]
    images.append(images[0].contiguous(memory_format=torch.channels_last))
    with torch.no_grad():
        torch.save([(x, network(x)) for x in images], folder / "cases.pt")
    # -I: neither the current folder nor PYTHONPATH is looked through.
    command = [sys.executable, "-I", "-c", OUTSIDE, program, folder / "cases.pt", kind]
    done = run(command, cwd=folder, env={**os.environ, "MALLOC_PERTURB_": "85"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
