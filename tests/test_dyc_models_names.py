"""Every registered name stands literally in its family's file, so that a search leads to the network's definition."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest
import timm

import dyc.models
from dyc.models import model_names

FILES = sorted(Path(dyc.models.__file__).parent.glob("*.py"))


def literals(source: str) -> Counter[str]:
    """Count the strings that stand in Python code as they are read: no docstrings, no parts of f-strings or of sums."""
    tree = ast.parse(source)
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a string as a statement of its own is a docstring
            left_out.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            left_out.update(node.values)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    # Python joins "a" "b" before anybody sees it; the text does not.
    whole = [node for node in found if node not in left_out and node.value in ast.get_source_segment(source, node)]
    return Counter(node.value for node in whole)


LITERALS = {file.stem: literals(file.read_text()) for file in FILES}


def registers(source: str) -> bool:
    """Whether a file registers networks, that is calls ``register``."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Name) and call.id == "register" for call in calls)


@pytest.mark.parametrize("name", model_names())
def test_the_name_stands_once_in_its_family_and_nowhere_else(name):
    family = timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1]
    assert {file: found[name] for file, found in LITERALS.items() if found[name]} == {family: 1}


@pytest.mark.parametrize(
    "computed",
    [
        'NAMES = [f"net_{width}" for width in ("035",)]',
        'NAMES = ["net_" + width for width in ("035",)]',
        'NAMES = ["_".join(("net", "035"))]',
        'NAMES = [f"net_035"]',
        'NAMES = ["net" "_035"]',
        '"""Such as net_035."""\nNAMES = ["net" + "_035"]',
        '"net_035"',
    ],
)
def test_a_computed_name_would_be_found_out(computed):
    assert not literals(computed)["net_035"]
    assert literals('NAMES = {"net_035": 1}')["net_035"] == 1


def test_every_file_that_registers_networks_is_imported_with_the_package():
    files = {file.stem for file in FILES if registers(file.read_text())}
    imported = next(node for node in ast.parse(FILES[0].read_text()).body if isinstance(node, ast.ImportFrom))
    assert {alias.name for alias in imported.names} == files
    assert {timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1] for name in model_names()} == files


def test_the_descriptions_are_those_of_the_registered_networks():
    described = [
        name for file in FILES for name in getattr(sys.modules.get(f"dyc.models.{file.stem}"), "default_cfgs", ())
    ]
    assert sorted(described) == sorted(model_names())
