"""Loading one file of a package without the package, whose import would bring PyTorch along."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).parents[1]
"""Where the packages lie side by side."""


def load_alone(path: str) -> ModuleType:
    """Return the module of a file that imports nothing but the standard library.

    Args:
        path: The file, from the folder that the packages are in: ``"dyc/own_packages.py"``.
    """
    file = HOME / path
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
