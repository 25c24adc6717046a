"""dyc/models/README.md tells the truth: names, files, sizes, and an example of a new family that runs."""

import re
from pathlib import Path

import timm
import torch
from support.ranks import together

import dyc
import dyc.models

FOLDER = Path(dyc.models.__file__).parent
README = (FOLDER / "README.md").read_text()
NETWORKS = README.split("\n## ")[1]
USE, COUNTING, NEW_FAMILY = re.findall(r"```python\n(.*?)```", README, re.S)

IN_THE_NEW_FAMILY = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("dyc.models.tiny_cifar", path)
import dyc, timm, torch
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert {"tiny_cifar", "dyc_tiny_cifar"} <= set(dyc.models.model_names())
for name, dynamic in (("tiny_cifar", 0), ("dyc_tiny_cifar", 3)):
    model = timm.create_model(name)
    assert len(list(dyc.iter_dynamic(model))) == dynamic
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    levels = timm.create_model(name, features_only=True)(torch.randn(2, 3, 32, 32))
    assert [tuple(level.shape) for level in levels] == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]
"""


def test_examples_of_use_run():
    scope: dict = {}
    exec(compile(USE, "README.md", "exec"), scope)
    assert scope["model"].num_classes == 100
    assert scope["small"].num_classes == 10
    assert scope["maps"].feature_info.reduction() == [2, 4, 8, 16, 32]


def test_example_of_counting_runs():
    scope: dict = {}
    exec(compile(COUNTING, "README.md", "exec"), scope)
    assert scope["counter"].get_total_flops() == 2 * 96_670_144


def test_a_new_family_is_the_file_that_it_says(tmp_path):
    (tmp_path / "tiny_cifar.py").write_text(NEW_FAMILY)
    # In a fork, so that nothing is registered here.
    together(lambda rank: exec(IN_THE_NEW_FAMILY, {"path": tmp_path / "tiny_cifar.py"}), ranks=1)


def test_the_table_has_every_name_in_its_file():
    found: dict[str, list[str]] = {}
    for file, names in re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \| (`.*?) \|", NETWORKS, re.M):
        words = re.findall(r"`(\w+)`", names)
        suffixes = [word for word in words if word.startswith("_")]
        whole = [word for word in words if word not in suffixes]
        found.setdefault(file, []).extend([*whole, *(name + suffix for name in whole for suffix in suffixes)])
    registered: dict[str, list[str]] = {}
    for name in dyc.models.model_names():
        registered.setdefault(timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1], []).append(name)
    assert {file: sorted(names) for file, names in found.items()} == {
        file: sorted(names) for file, names in registered.items()
    }


def test_links_lead_to_files():
    files = {file for _, file in re.findall(r"\[([^\]]+)\]\(([^)/]+)\)", README)}  # of this folder
    assert files == {file.name for file in FOLDER.glob("*.py")}


def test_counts_of_the_table():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]{6,}) \|", README, re.M)
    assert len(rows) == 14
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in timm.create_model(name).parameters()) for name, _ in rows}
    assert {name: f"{count:,}" for name, count in counts.items()} == dict(rows)
