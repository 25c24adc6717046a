"""An installed package has every file of ``experiments`` that its code reads."""

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "experiments"
LEFT_OUT = (".md", ".png", ".py", ".pyc", ".lock")


def test_installed_are_all_recipes_papers_protocols_records_and_templates():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["experiments"].split(",")
    installed = {path for pattern in patterns for path in FOLDER.glob(pattern.strip())}
    there = {path for path in FOLDER.rglob("*.*") if path.is_file() and path.suffix not in LEFT_OUT}
    assert sorted(there - installed) == []
    assert {path.suffix for path in installed} >= {".csv", ".html", ".yaml"}


def test_every_folder_of_code_is_a_package():
    assert {path.parent for path in FOLDER.rglob("*.py")} == {path.parent for path in FOLDER.rglob("__init__.py")}
