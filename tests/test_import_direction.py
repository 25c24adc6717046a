"""Imports go one way: ops <- dyc <- lightning_modules <- experiments; Lightning and the like stay above dyc."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("ops", "dyc", "lightning_modules", "experiments")
THIRD_PARTY = {"ops": {"torch"}, "dyc": {"torch", "timm"}}
# CuPy is optional: imported inside functions, where there is a GPU.
OPTIONAL = {("ops/backends/cupy/backend.py", "cupy"), ("ops/backends/cupy/nvrtc.py", "cupy")}


def imported(source: str) -> Iterator[str]:
    """Yield the top-level package of every import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def imports_of(package: str) -> set[tuple[str, str]]:
    """Return every (file, imported package) of one of our packages."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {(str(file.relative_to(ROOT)), name) for file in files for name in imported(file.read_text())}


@pytest.mark.parametrize("package", LAYERS)
def test_no_package_imports_one_above_it(package):
    above = LAYERS[LAYERS.index(package) + 1 :]
    assert {(file, name) for file, name in imports_of(package) if name in above} == set()


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_the_lower_packages_need_few_others(package):
    allowed = THIRD_PARTY[package] | set(LAYERS) | sys.stdlib_module_names
    imports = imports_of(package)
    assert "torch" in {name for _, name in imports}, "nothing was read"
    assert {(file, name) for file, name in imports if name not in allowed} == OPTIONAL & imports


@pytest.mark.parametrize("file", sorted({file for file, _ in OPTIONAL}))
def test_optional_packages_are_not_imported_with_their_file(file):
    tree = ast.parse((ROOT / file).read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    found = set(imported(ast.unparse(tree)))
    assert "ops" in found
    assert found.isdisjoint(name for _, name in OPTIONAL)


def test_every_form_of_import_is_seen():
    source = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i\nif j:\n    from k import l"
    assert set(imported(source)) == {"a", "c", "d", "i", "k"}
