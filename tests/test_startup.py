"""How long it takes to import the package and to create its models: the best of three, as other work may slow one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import timm

from dyc.models import model_names

SECONDS = """
import time
import timm
before = time.perf_counter()
import dyc
print(time.perf_counter() - before)
"""


def test_the_import_adds_half_a_second_at_most():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", SECONDS]
    times = []
    while len(times) < 3 and min(times, default=1.0) > 0.5:
        times.append(float(subprocess.check_output(command, env=env, text=True).split()[-1]))
    assert min(times) <= 0.5, f"{min(times):.2f} s after import timm"


def test_a_cifar_sized_model_is_created_within_two_seconds():
    names = [name for name in model_names() if "cifar" in name]
    assert "dyc_mobilenetv2_cifar" in names
    for name in names:
        times = []
        while len(times) < 3 and min(times, default=3.0) > 2:
            start = time.perf_counter()
            timm.create_model(name)
            times.append(time.perf_counter() - start)
        assert min(times) <= 2, f"{name}: {min(times):.2f} s"
