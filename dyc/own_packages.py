"""Whether a package that this one needs is its own: others have folders named ``ops`` too.

Only the standard library is imported here: the answer must come before anything else is loaded.
"""

import sys
import warnings
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).parents[1]
"""Where the packages of this distribution lie side by side."""

OFFERS = {
    "ops": b"ArgumentError",
    "dyc": b"make_dynamic",
    "lightning_modules": b"ImageClassifier",
    "experiments": b"papers' tables",
}
"""The packages, and what the file of each holds unless another distribution has written over it."""


def foreign_package(name: str, home: Path = HOME) -> str | None:
    """Return one line about what stands in the place of a package; None if the package is the one in ``home``.

    Nothing is imported. What was imported already under the name is what counts.

    Args:
        name: The package, such as ``"ops"``.
        home: The folder that it must be in.
    """
    try:
        spec = find_spec(name)
    except ValueError:  # a module that somebody made by hand
        return f"{name}: got {sys.modules[name]!r} in sys.modules; need the package in {home}"
    own = home / name / "__init__.py"
    if spec is None:
        return f"{name}: got no such package; need the one of the distribution dyc, in {home}: install dyc anew"
    if spec.origin is None or not _same(Path(spec.origin), own):
        found, kind = _place(spec)
        return (
            f"{name}: got {found}{kind}, which Python found before the package of the same name that comes with dyc, in"
            f" {home}; rename yours, or start Python where it is not on the path ({found.parent} is in sys.path)"
        )
    if own.exists() and OFFERS[name] not in own.read_bytes():
        others = sorted({*packages_distributions().get(name, ())} - {"dyc"})
        return (
            f"{name}: got the package of {' and '.join(others) or 'another distribution'}, installed over dyc's own in"
            f" {home}; install each into an environment of its own"
        )
    return None


def _same(found: Path, own: Path) -> bool:
    return found == own or (own.exists() and found.exists() and found.samefile(own))


def _place(spec: ModuleSpec) -> tuple[Path, str]:
    """Return the file or folder that was found, and what is special about it."""
    if spec.origin is None:  # a namespace
        folders = list(spec.submodule_search_locations or ["?"])
        return Path(folders[0]), " (a folder without __init__.py)"
    found = Path(spec.origin)
    return (found.parent if found.name == "__init__.py" else found), ""


def check_packages(*names: str) -> None:
    """Raise :class:`ImportError`, with one line that says what to do, unless these packages are our own."""
    for name in names:
        problem = foreign_package(name)
        if problem is not None:
            raise ImportError(problem, name=name)


def warn_of_others(*names: str, home: Path = HOME) -> None:
    """Warn in one line of each package of ours that another one hides, where ``dyc`` itself works without it."""
    for name in names:
        problem = foreign_package(name, home) if (home / name).is_dir() else None
        if problem is not None:
            warnings.warn(problem, stacklevel=3)
