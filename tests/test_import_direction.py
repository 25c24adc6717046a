"""Imports go one way: ops <- dyc <- lightning_modules <- experiments; Lightning and the like stay above dyc."""

import ast
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("ops", "dyc", "lightning_modules", "experiments")
THIRD_PARTY = {"ops": {"torch"}, "dyc": {"torch", "timm"}}
# CuPy is optional: imported inside functions, where there is a GPU. timm needs the packages of weights and model cards.
OPTIONAL = {("ops/backends/cupy/backend.py", "cupy"), ("ops/backends/cupy/nvrtc.py", "cupy")}
OPTIONAL |= {("dyc/export/weights.py", "safetensors"), ("dyc/export/model_card.py", "huggingface_hub")}
# Exported files are timed in the runtimes that are installed.
OPTIONAL |= {("dyc/benchmark/runtimes.py", runtime) for runtime in ("onnxruntime", "openvino")}
# What writes ONNX files needs an extra: imported by functions, from one folder.
EXTRA = {"dyc/export/onnx/": {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript"}}
# The heads of segmentation are torchvision's, which timm needs: imported from one folder.
IN_ONE_FOLDER = {**EXTRA, "dyc/segmentation/": {"torchvision"}}


def imported(source: str) -> Iterator[str]:
    """Yield the top-level package of every import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def modules_of(*packages: str) -> dict[str, Path]:
    """Return the file of every module, by its dotted name."""
    files = (file for package in packages for file in sorted((ROOT / package).rglob("*.py")))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported_with(source: str, known: Collection[str]) -> set[str]:
    """Return the ``known`` modules that a file imports when it is imported itself, or for its annotations alone.

    ``from a import b`` is an import of ``a.b`` where that is a module, and of ``a`` where it is not. The package that
    a module lies in is not counted: it is imported before, and may hand the module's names on.
    """
    tree, found = ast.parse(source), set()
    inside = {
        id(inner)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            submodules = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in known else node.module for name in submodules)
    return found & set(known)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of a graph, each node followed by one that it leads to; empty if there is none."""
    finished: set[str] = set()

    def follow(path: list[str]) -> list[str]:
        for after in sorted(graph[path[-1]] - finished):
            if after in path:
                return [*path[path.index(after) :], after]
            if found := follow([*path, after]):
                return found
        finished.add(path[-1])
        return []

    return next((found for node in graph if node not in finished and (found := follow([node]))), [])


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
    extra = {
        (file, name)
        for file, name in imports
        for folder in IN_ONE_FOLDER
        if file.startswith(folder) and name in IN_ONE_FOLDER[folder]
    }
    assert {(file, name) for file, name in imports if name not in allowed} == (OPTIONAL & imports) | extra


def test_what_needs_an_extra_is_imported_by_functions_alone():
    modules = modules_of("ops", "dyc", "lightning_modules")
    inside = {name for name, file in modules.items() if str(file.relative_to(ROOT)).startswith(tuple(EXTRA))}
    assert "dyc.export.onnx.file" in inside
    for name in set(modules) - inside:
        assert imported_with(modules[name].read_text(), modules).isdisjoint(inside), name


@pytest.mark.parametrize("file", sorted({file for file, _ in OPTIONAL}))
def test_optional_packages_are_not_imported_with_their_file(file):
    tree = ast.parse((ROOT / file).read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    found = set(imported(ast.unparse(tree)))
    assert found, "nothing was read"
    assert found.isdisjoint(name for _, name in OPTIONAL)


def test_every_form_of_import_is_seen():
    source = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i\nif j:\n    from k import l"
    assert set(imported(source)) == {"a", "c", "d", "i", "k"}


def test_no_module_imports_itself_by_way_of_others():
    modules = modules_of("ops", "dyc", "lightning_modules")
    graph = {name: imported_with(file.read_text(), modules) for name, file in modules.items()}
    assert graph["dyc.counting.profile"] >= {"dyc.counting.conventions", "dyc.counting.rows", "ops"}
    assert circle(graph) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"e"}, "e": {"b"}}) == ["b", "d", "e", "b"]
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.b import C\nfrom a import d, E\n"
    source += "def f():\n    import a.f\n"
    assert imported_with(source, {"a", "a.b", "a.d", "a.f"}) == {"a", "a.b", "a.d"}


def test_what_is_taken_from_ops_is_what_it_offers():
    offered = set(ast.literal_eval(assigned("ops/__init__.py", "__all__")))
    inside, missing = set(), set()
    for file in modules_of("dyc", "lightning_modules").values():
        name = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            sources = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            sources += [node.module] if isinstance(node, ast.ImportFrom) else []
            inside |= {(name, source) for source in sources if source.startswith("ops.")}
            if sources == ["ops"] and isinstance(node, ast.ImportFrom):
                missing |= {(name, alias.name) for alias in node.names if alias.name not in offered}
    assert inside == set()
    assert missing == set()


def assigned(file: str, name: str) -> ast.expr:
    """Return the expression that a file assigns to a name."""
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return node.value
    raise LookupError(f"{file} assigns nothing to {name}")
