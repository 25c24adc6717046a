"""What importing the package and creating its models costs, counted in work rather than in time."""

import json
import os
import sys
from pathlib import Path

import timm
from support.processes import run
from support.work import work

from dyc.models import model_names

IMPORT = """
import json, subprocess, sys
import timm
import torch.utils.flop_counter  # what counts our operators is told to it; 3 ms
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

done = {"modules": 0, "processes": 0, "operators": 0}

def counted(name, function):
    def call(*args, **kwargs):
        done[name] += 1
        return function(*args, **kwargs)
    return call

class Operators(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        done["operators"] += 1
        return function(*args, **(kwargs or {}))

nn.Module.__init__ = counted("modules", nn.Module.__init__)
subprocess.Popen.__init__ = counted("processes", subprocess.Popen.__init__)
before = set(sys.modules)
with Operators():
    import dyc, ops
    ops.backends()
packages = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
benchmarks = [name for name in sys.modules if name.startswith("dyc.benchmark")]
# The packages are those of which anything was loaded that was not there before, be it a part of torch or timm.
print(json.dumps({**done, "packages": sorted(packages), "benchmarks": benchmarks}))
"""


def test_the_import_loads_nothing_but_the_package_and_computes_nothing():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = run([sys.executable, "-c", IMPORT], env=env)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"modules": 0, "processes": 0, "operators": 0, "packages": ["dyc", "ops"], "benchmarks": []}


def test_a_cifar_sized_model_is_created_with_little_more_work_than_its_weights_need():
    names = [name for name in model_names() if "cifar" in name]
    assert "dyc_mobilenetv2_cifar" in names
    for name in names:
        model = timm.create_model(name)
        tensors = model.state_dict().values()
        done = work(lambda name=name: timm.create_model(name))
        # Today: 126 calls per module, 2.2 operators per tensor, 2.8 elements per weight, and no convolution at all.
        assert done.calls <= 250 * len(list(model.modules())), name
        assert done.operators <= 4 * len(tensors), name
        assert done.elements <= 4 * sum(t.numel() for t in tensors), name
        assert done.flops == 0, name
