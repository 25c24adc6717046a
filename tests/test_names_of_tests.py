"""Every test file is named after what it tests, so that one finds it; see conftest.py."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("ops", "dyc", "lightning_modules", "experiments")
OTHERS = ("experiments", "support_rounding")  # folders and files outside the packages
WHOLE_PROJECT = ("doctests", "import_direction", "names_of_tests", "readme", "soak", "startup")


def sources() -> set[str]:
    """Return every file and folder inside the packages, its path written as in the name of a test file."""
    paths = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*"))
    kept = (path for path in paths if path.suffix in ("", ".py") and not path.name.startswith("__pycache__"))
    return {"_".join(part.strip("_") for part in path.with_suffix("").parts) for path in kept}


def test_every_test_file_is_named_after_a_source_file_or_a_folder():
    known = (*sources(), *OTHERS)
    assert "ops_backends_cpp_build" in known
    names = [path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")]
    assert set(names) > set(WHOLE_PROJECT)
    named = [name for name in names if name not in WHOLE_PROJECT]
    assert [name for name in named if not any(name == one or name.startswith(f"{one}_") for one in known)] == []
