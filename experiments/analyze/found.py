"""Which analyses there are: read from the first lines of their files, which are not imported for it."""

import ast
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "analyses"


@dataclass(frozen=True)
class Found:
    """An analysis.

    Args:
        name: Its name, that of its file.
        summary: What it shows, in one line.
        dynamic: What of dynamic layers it is about, such as their attention; empty where static networks have it too.
        classifies: Whether it measures the accuracy of a classifier.
    """

    name: str
    summary: str
    dynamic: str = ""
    classifies: bool = False

    @property
    def module(self) -> str:
        """The module that runs it."""
        return f"experiments.analyze.analyses.{self.name}"


def analyses(folder: Path = FOLDER) -> dict[str, Found]:
    """Return the analyses by name, in the order of their names."""
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: _read(path) for path in files}


def _read(path: Path) -> Found:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    summary = (ast.get_docstring(tree) or "").partition("\n")[0].removesuffix(".")
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    known = {name: ast.literal_eval(constants[name]) for name in ("DYNAMIC", "CLASSIFIES") if name in constants}
    return Found(path.stem, summary, **{name.lower(): value for name, value in known.items()})
